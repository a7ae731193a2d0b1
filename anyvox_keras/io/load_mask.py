"""Read a mask."""

from typing import Any

import numpy as np

from anyvox_keras._errors import UserError
from anyvox_keras.io._read import copy_header, open_image, read_affine, read_array
from anyvox_keras.io.require_same_grid import require_same_grid
from anyvox_keras.io.volume import Volume


def load_mask(source: Any, of: Volume | None = None, what: str = "mask") -> Volume:
    """Read a 3D mask: inside where the value is above zero.

    Args:
        source: path of a NIfTI file, nibabel image, `Volume`, or array `(D, H, W)` on the grid
            of `of`.
        of: the image the mask belongs to; both must have the same grid.
        what: what to call it in messages.

    Returns:
        A `Volume` whose array is bool `(D, H, W)`.

    Raises:
        UserError: missing, unreadable, not 3D, empty, or on another grid than `of`.

    Example:
        ```python
        >>> int(load_mask(np.ones((2, 2, 2))).array.sum())
        8
        ```
    """
    mask = _read(source, of, what)
    if not mask.array.any():
        raise UserError(f"{mask.name}: expected a mask with voxels above zero, received none")
    if of is not None:
        require_same_grid(mask, of)
    return mask


def _read(source: Any, of: Volume | None, what: str) -> Volume:
    if isinstance(source, Volume):
        return Volume(source.array > 0, source.affine, source.header, None, source.name)
    if isinstance(source, np.ndarray):
        affine = np.eye(4) if of is None else of.affine
        if source.ndim != 3:
            raise UserError(f"{what}: expected (D, H, W), received shape {source.shape}")
        return Volume(source > 0, affine, None, None, what)
    image, name = open_image(source, what)
    affine = read_affine(image, name)
    return Volume(read_array(image, name, what) > 0, affine, copy_header(image), None, name)
