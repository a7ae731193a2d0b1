"""Affine transforms as text that ITK reads."""

import os

import numpy as np

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
    """Read the `(4, 4)` matrix, mm, RAS, of an ITK affine text file with any centre.

    Raises:
        UserError: missing, or not one affine transform with twelve parameters.
    """
    try:
        with open(path, encoding="utf-8") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        numbers = np.array(fields["Parameters"].split(), "float64")
        centre = np.array(fields.get("FixedParameters", "0 0 0").split(), "float64")
    except (OSError, UnicodeDecodeError, KeyError, ValueError) as error:
        raise UserError(f"{path}: expected an ITK affine text file ({error})") from error
    if numbers.size != 12 or centre.size != 3:
        raise UserError(f"{path}: expected 12 parameters, received {numbers.size}")
    lps = np.eye(4)
    lps[:3, :3] = numbers[:9].reshape(3, 3)
    lps[:3, 3] = numbers[9:] + centre - lps[:3, :3] @ centre
    return _FLIP @ lps @ _FLIP
