"""Affine transforms as text that ITK reads."""

import os
from collections.abc import Callable, Iterable

import numpy as np
from scipy.spatial.transform import Rotation

from anyvox_keras.errors import UserError
from anyvox_keras.io.output import atomic, check_output

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


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
    matrix = np.asarray(matrix, "float64")
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError(f"`matrix` must be a finite (4, 4) matrix. Received: {matrix.tolist()}")
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
            lps = lps @ _matrix(kind, parameters, fixed)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
    if not np.isfinite(lps).all():
        raise UserError(f"{path}: expected finite parameters, received NaN or infinity")
    return _FLIP @ lps @ _FLIP


Transform = tuple[str, np.ndarray, np.ndarray]


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


def _matrix(kind: str, parameters: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """The `(4, 4)` matrix in LPS of one transform."""
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
