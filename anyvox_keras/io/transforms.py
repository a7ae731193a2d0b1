"""Affine transforms and displacement fields as ITK reads them."""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from anyvox_keras.errors import UserError, real_numbers
from anyvox_keras.geometry import Grid, Warp
from anyvox_keras.io.form_codes import read_affine, require_no_shear
from anyvox_keras.io.image_files import open_image, read_values
from anyvox_keras.io.output import atomic, check_output
from anyvox_keras.io.points import TO_LPS

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
Transform = tuple[str, np.ndarray, np.ndarray]
_BEYOND = "affine beyond the grid, mm, RAS"
# NIfTI's intent of a displacement, whose vectors ITK turns from RAS to LPS as it reads them
_DISPLACEMENT = 1006


def save_affine(path: str | os.PathLike[str], matrix: np.ndarray, overwrite: bool = False) -> None:
    """Write a world affine as an ITK transform file (`.tfm`), double precision.

    Args:
        path: ends in `.tfm` or `.txt`.
        matrix: `(4, 4)`, mm, RAS: fixed physical point to moving physical point. In the file the
            same map acts on LPS, as everywhere in ITK.
        overwrite: replace an existing file.

    Raises:
        UserError: wrong ending, existing file, folder that cannot be written.
        ValueError: not a finite `(4, 4)` matrix.

    Example:
        ```python
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/affine.tfm"
        >>> save_affine(path, np.eye(4))
        >>> load_affine(path)[0].tolist()
        [1.0, 0.0, 0.0, 0.0]
        ```
    """
    matrix = real_numbers("matrix", matrix, "float64")
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError(f"`matrix` must be a finite (4, 4) matrix. Received: {matrix.tolist()}")
    if not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise ValueError(f"`matrix` must end in 0 0 0 1. Received: {matrix[3].tolist()}")
    if not str(path).endswith((".tfm", ".txt")):
        raise UserError(f"{path}: expected a name ending in .tfm or .txt")
    lps = _FLIP @ matrix @ _FLIP
    numbers = " ".join(f"{v:.17g}" for v in [*lps[:3, :3].ravel(), *lps[:3, 3]])
    lines = [
        "#Insight Transform File V1.0",
        "#Transform 0",
        "Transform: AffineTransform_double_3_3",
        f"Parameters: {numbers}",
        "FixedParameters: 0 0 0",
    ]
    with atomic(check_output(path, overwrite)) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def load_affine(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the `(4, 4)` matrix, mm, RAS, of the linear transforms in an ITK text file.

    Several transforms are composed as ITK's `CompositeTransform` does: the last of the file acts
    first. Affine, rigid (Euler, versor), similarity, translation and identity are known, each with
    any centre.

    Raises:
        UserError: missing, damaged, or a transform of another kind.
    """
    try:
        with open(path, encoding="utf-8") as file:
            found = _transforms(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected an ITK affine text file ({error})") from error
    lps = np.eye(4)
    for kind, parameters, fixed in found:
        try:
            lps = lps @ linear_matrix(kind, parameters, fixed)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
    if not np.isfinite(lps).all():
        raise UserError(f"{path}: expected finite parameters, received NaN or infinity")
    return _FLIP @ lps @ _FLIP


def _transforms(lines: Iterable[str]) -> list[Transform]:
    """Kind, parameters and fixed parameters of each transform of a file, but a composite's own."""
    found: list[dict[str, str]] = []
    for line in lines:
        name, _, text = line.partition(":")
        if name == "Transform":
            found.append({"Transform": text.strip()})
        elif name in ("Parameters", "FixedParameters") and found:
            found[-1][name] = text
    transforms = [
        (fields["Transform"].split("_")[0], _numbers(fields, "Parameters"),
         _numbers(fields, "FixedParameters"))
        for fields in found
        if not fields["Transform"].startswith("CompositeTransform")
    ]  # fmt: skip
    if not transforms:
        raise ValueError("no transform in it")
    return transforms


def _numbers(fields: dict[str, str], name: str) -> np.ndarray:
    return np.array(fields.get(name, "").split(), "float64")


def linear_matrix(kind: str, parameters: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """The `(4, 4)` matrix in LPS of one of ITK's transforms.

    Args:
        kind: ITK's name without the type of number, such as "AffineTransform".
        parameters: As ITK orders them.
        fixed: The fixed parameters: the centre, and for Euler angles their order.

    Raises:
        ValueError: Another kind, or another number of parameters.

    Example:
        ```python
        >>> linear_matrix("TranslationTransform", np.ones(3), np.zeros(0))[:3, 3]
        array([1., 1., 1.])
        ```
    """
    if kind not in _LINEAR:
        raise ValueError(f"expected a transform of {', '.join(_LINEAR)}, received {kind}")
    count, axes = _LINEAR[kind]
    if parameters.size != count:
        raise ValueError(f"expected {count} parameters of {kind}, received {parameters.size}")
    linear = axes(parameters, fixed)
    centre = fixed[:3] if fixed.size >= 3 else np.zeros(3)
    lps = np.eye(4)
    lps[:3, :3] = linear
    shift = {0: np.zeros(3), 3: parameters, 7: parameters[3:6]}.get(count, parameters[-3:])
    lps[:3, 3] = shift + centre - linear @ centre
    return lps


def _versor(parameters: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Rotation of a unit quaternion given by its vector part."""
    length = float(np.sum(parameters[:3] ** 2))
    if length > 1:
        raise ValueError(f"expected a versor of length 1 at most, received {length**0.5:g}")
    return Rotation.from_quat([*parameters[:3], (1 - length) ** 0.5]).as_matrix()


def _euler(parameters: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Rotation about x, y and z: Rz Rx Ry, or Rz Ry Rx where the fourth fixed parameter says so."""
    x, y, z = parameters[:3]
    zyx = fixed.size > 3 and fixed[3] != 0
    order, angles = ("ZYX", [z, y, x]) if zyx else ("ZXY", [z, x, y])
    return Rotation.from_euler(order, angles).as_matrix()


def _nine(parameters: np.ndarray, _: np.ndarray) -> np.ndarray:
    return parameters[:9].reshape(3, 3)


def _unit(_: np.ndarray, __: np.ndarray) -> np.ndarray:
    return np.eye(3)


def _similarity(parameters: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    return _versor(parameters, fixed) * parameters[6]


#: kind -> how many parameters, and the linear part of them
_LINEAR: dict[str, tuple[int, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "AffineTransform": (12, _nine),
    "MatrixOffsetTransformBase": (12, _nine),
    "Euler3DTransform": (6, _euler),
    "VersorRigid3DTransform": (6, _versor),
    "Similarity3DTransform": (7, _similarity),
    "TranslationTransform": (3, _unit),
    "IdentityTransform": (0, _unit),
}


def save_warp(
    path: str | os.PathLike[str],
    displacement: np.ndarray,
    fixed_grid: Grid,
    moving_grid: Grid | None = None,
    overwrite: bool = False,
    beyond: np.ndarray | None = None,
) -> None:
    """Write a displacement in voxels as an ITK displacement field.

    The file is a 5D NIfTI `(X, Y, Z, 1, 3)` with intent *vector*; a vector is millimetres in LPS
    and leads from a fixed physical point to the moving physical point.

    Args:
        path: ends in `.nii` or `.nii.gz`.
        displacement: `(D, H, W, 3)` on the fixed grid; `x + u(x)` is a voxel of `moving_grid`.
        fixed_grid: where the field lives.
        moving_grid: what the target is counted in; the default is the fixed grid's voxels, as in
            `Registration.displacement`.
        overwrite: replace an existing file.
        beyond: `(4, 4)`, mm, RAS: where points outside the grid go, kept as a comment in the
            header; see `Warp`.

    Raises:
        UserError: wrong ending, existing file, folder that cannot be written.

    Example:
        ```python
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/warp.nii.gz"
        >>> save_warp(path, np.zeros((4, 4, 4, 3)), Grid((4, 4, 4), np.eye(4)))
        >>> load_warp(path).grid.shape
        (4, 4, 4)
        ```
    """
    if not str(path).endswith((".nii", ".nii.gz")):
        raise UserError(f"{path}: expected a name ending in .nii or .nii.gz")
    require_no_shear(fixed_grid.affine, str(path))
    displacement = real_numbers("displacement", displacement)
    if displacement.shape != (*fixed_grid.shape, 3) or not np.isfinite(displacement).all():
        expected = (*fixed_grid.shape, 3)
        raise ValueError(
            f"`displacement` must be finite, of shape {expected}. Received: {displacement.shape}"
        )
    path = check_output(path, overwrite)
    warp = Warp.from_voxels(displacement, fixed_grid, moving_grid)
    vectors = (warp.vectors * TO_LPS).astype("float32")[:, :, :, None, :]
    image = nib.Nifti1Image(vectors, fixed_grid.affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    # both forms, the same: ITK and nibabel prefer different ones
    image.set_sform(fixed_grid.affine, code="scanner")
    image.set_qform(fixed_grid.affine, code="scanner", strip_shears=True)
    if beyond is not None:
        comment = json.dumps({_BEYOND: np.asarray(beyond).tolist()}).encode()
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", comment))
    with atomic(path) as temporary:
        nib.save(image, temporary)


def load_warp(source: str | os.PathLike[str]) -> Warp:
    """Read an ITK displacement field, ours or another program's.

    Vectors are LPS, or RAS where the intent is 1006 (displacement), as for ITK.

    Raises:
        UserError: missing, unreadable, not `(X, Y, Z, 1, 3)`, not finite, or coordinates instead of
            displacements.
    """
    image, name = open_image(source, "warp")
    shape = tuple(image.shape)
    if len(shape) != 5 or shape[3:] != (1, 3):
        raise UserError(f"{name}: expected a warp of shape (X, Y, Z, 1, 3), received {shape}")
    affine = read_affine(image, name)
    raw = read_values(image, name, "warp")[:, :, :, 0, :]
    if not np.isfinite(raw).all():
        raise UserError(f"{name}: expected finite displacements, received NaN or infinity")
    grid = Grid(shape[:3], affine)
    _require_displacements(raw, grid, name)
    return Warp(_to_ras(raw, image), grid, _read_beyond(image))


def _read_beyond(image: Any) -> np.ndarray | None:
    """The affine part that `save_warp` left in the header, if it did."""
    for extension in getattr(image.header, "extensions", ()):
        try:
            matrix = np.asarray(json.loads(extension.get_content())[_BEYOND], "float64")
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # another program's comment
        if matrix.shape == (4, 4) and np.isfinite(matrix).all():
            return matrix
    return None


def _to_ras(raw: np.ndarray, image: Any) -> np.ndarray:
    """Vectors as ITK understands them, in RAS."""
    turned = int(image.header.get("intent_code", 0)) == _DISPLACEMENT
    return raw.astype("float64") * (1 if turned else TO_LPS)


def _require_displacements(raw: np.ndarray, grid: Grid, name: str) -> None:
    """Refuse a map that holds where each voxel goes (SPM's y_ files, NiftyReg's deformations).

    Such vectors grow by about 1 mm per mm along each axis of the world, displacements do not.
    """
    step = tuple(slice(None, None, max(1, n // 16)) for n in grid.shape)
    where = grid.to_world(grid.voxels()[step]).reshape(-1, 3)
    design = np.c_[where, np.ones(len(where))]
    slopes = np.diag(np.linalg.lstsq(design, raw[step].reshape(-1, 3), rcond=None)[0][:3])
    if (np.abs(np.abs(slopes) - 1) < 0.4).all():
        raise UserError(
            f"{name}: expected displacements in mm, received coordinates (an absolute map, as SPM "
            "and NiftyReg write); subtract each voxel's own place from them"
        )
