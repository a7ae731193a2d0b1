"""Read a label map."""

from typing import Any

import numpy as np

from anyvox_keras._errors import UserError
from anyvox_keras.io._read import copy_header, open_image, read_affine, read_array
from anyvox_keras.io.volume import Volume

#: how far a scaled float may lie from its integer
TOLERANCE = 1e-3


def load_labels(source: Any, what: str = "label map") -> Volume:
    """Read a 3D label map: integers from 0 (background) up.

    Args:
        source: path of a NIfTI file, nibabel image, integer `Volume`, or integer array
            `(D, H, W)`, which gets voxels of 1 mm.
        what: what to call it in messages.

    Returns:
        A `Volume` whose array is int32 `(D, H, W)`.

    Raises:
        UserError: missing, unreadable, not 3D, not integer, negative.

    Example:
        ```python
        >>> load_labels(np.ones((2, 2, 2), int)).array.dtype
        dtype('int32')
        ```
    """
    if isinstance(source, Volume):
        labels = _integers(source.array, source.name)
        return Volume(labels, source.affine, source.header, None, source.name)
    if isinstance(source, np.ndarray):
        return Volume(_integers(source, what), np.eye(4), None, None, what)
    image, name = open_image(source, what)
    affine = read_affine(image, name)
    labels = _integers(read_array(image, name, what), name)
    return Volume(labels, affine, copy_header(image), None, name)


def _integers(raw: np.ndarray, name: str) -> np.ndarray:
    """Return int32 labels; what is not an integer from 0 up is a mistake."""
    if raw.dtype.kind not in "iub":
        raw = np.asarray(raw, "float64")
        wrong = ~(np.abs(raw - np.rint(raw)) <= TOLERANCE)  # catches NaN too
        if wrong.any():
            raise UserError(f"{name}: expected integer labels, received {raw[wrong][0]:g}")
        raw = np.rint(raw)
    low, high = int(raw.min()), int(raw.max())
    if low < 0:
        raise UserError(f"{name}: expected labels from 0 up, received {low}")
    if high > np.iinfo("int32").max:
        raise UserError(f"{name}: expected labels below 2**31, received {high}")
    return np.array(raw, "int32", order="C")
