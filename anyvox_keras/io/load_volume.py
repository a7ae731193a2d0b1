"""Read an image."""

import warnings
from typing import Any

import numpy as np

from anyvox_keras._errors import UserError
from anyvox_keras.io._read import copy_header, open_image, read_affine, read_array
from anyvox_keras.io.volume import Volume


def load_volume(source: Any, what: str = "image") -> Volume:
    """Read a 3D image as float32, with its geometry, and refuse one that cannot be used.

    Scattered NaN and infinities become the smallest finite value; `Volume.finite` remembers where
    they were, a mask should leave them out, and a warning says how many there are.

    Args:
        source: path of a NIfTI file, nibabel image, `Volume` (returned as it is), or an array
            `(D, H, W)`, which gets voxels of 1 mm.
        what: what to call the image in messages, such as `"fixed image"`.

    Returns:
        A `Volume`; its array is float32 `(D, H, W)`, axes as stored.

    Raises:
        UserError: missing, unreadable, not 3D, more than one volume, constant, nothing finite.

    Example:
        ```python
        >>> load_volume(np.arange(8.0).reshape(2, 2, 2)).shape
        (2, 2, 2)
        ```
    """
    if isinstance(source, Volume):
        return source
    if isinstance(source, np.ndarray):
        array, finite = _usable(source, what)
        return Volume(array, np.eye(4), None, finite, what)
    image, name = open_image(source, what)
    affine = read_affine(image, name)
    array, finite = _usable(read_array(image, name, what), name)
    return Volume(array, affine, copy_header(image), finite, name)


def _usable(raw: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return float32 values without NaN, and where they were finite (`None`: everywhere)."""
    if raw.ndim != 3:
        raise UserError(f"{name}: expected a 3D array (D, H, W), received shape {raw.shape}")
    # values beyond float32's range count as infinite, whatever the file's type
    with np.errstate(over="ignore"):
        array = np.array(raw, "float32", order="C")
    finite = np.isfinite(array)
    if not finite.any():
        raise UserError(f"{name}: expected finite values, received none (all NaN or infinite)")
    low, high = array[finite].min(), array[finite].max()
    if low == high:
        raise UserError(f"{name}: expected an image that varies, received {low:g} everywhere")
    if finite.all():
        return array, None
    bad = int(finite.size - finite.sum())
    message = f"{name}: {bad} voxels are not finite; they count as outside the mask"
    warnings.warn(message, stacklevel=3)
    array[~finite] = low
    return array, finite
