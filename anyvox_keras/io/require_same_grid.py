"""Refuse images that should share a grid but do not."""

from anyvox_keras._errors import UserError
from anyvox_keras.io.volume import Volume


def require_same_grid(volume: Volume, of: Volume) -> None:
    """Raise unless both images have the same shape and lie at the same place.

    Corners may be a tenth of a voxel apart: headers of one scan differ by rounding.

    Raises:
        UserError: naming both files, and the shape or the affine that differs.

    Example:
        ```python
        >>> import numpy as np
        >>> image = Volume(np.zeros((4, 4, 4)), np.eye(4))
        >>> require_same_grid(image, image)
        ```
    """
    if volume.shape != of.shape:
        raise UserError(
            f"{volume.name}: expected the shape {of.shape} of {of.name}, received {volume.shape}"
        )
    if not volume.grid.matches(of.grid):
        expected, received = (v.affine[:3].round(4).tolist() for v in (of, volume))
        raise UserError(
            f"{volume.name}: expected the affine of {of.name}, {expected}, received {received}"
        )
