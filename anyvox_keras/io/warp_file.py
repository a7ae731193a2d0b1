"""Displacement fields on disk as ITK, ANTs and SimpleITK read them."""

import json
import os
from typing import Any

import nibabel as nib
import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry.grid import Grid
from anyvox_keras.geometry.warp import Warp
from anyvox_keras.io.form_codes import read_affine, require_no_shear
from anyvox_keras.io.landmarks import TO_LPS
from anyvox_keras.io.load import open_image, read_values
from anyvox_keras.io.output import atomic, check_output


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
    displacement = np.asarray(displacement)
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


_BEYOND = "affine beyond the grid, mm, RAS"


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


# NIfTI's intent of a displacement, whose vectors ITK turns from RAS to LPS as it reads them
_DISPLACEMENT = 1006


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
