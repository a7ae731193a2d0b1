"""Bring an image onto another grid."""

import numpy as np

from anyvox_keras.io._sample import by_slabs, sample
from anyvox_keras.io.grid import Grid
from anyvox_keras.io.volume import Volume


def resample_to(
    volume: Volume, grid: Grid, order: int | None = None, outside: float | None = None
) -> Volume:
    """Resample an image onto a grid by the two affines: same world point, same value.

    Args:
        volume: image, label map or mask.
        grid: the lattice of the result.
        order: 1 linear, 0 nearest (a tie goes up, `floor(x + 1/2)`); the default is 1 for
            float arrays and 0 for integers and masks.
        outside: value beyond the image; the default is the smallest value of an image (air), and
            0 for labels and masks.

    Returns:
        A `Volume` on `grid`; `finite` is false beyond the image too.

    Example:
        ```python
        >>> fine = Volume(np.ones((4, 4, 4), "float32"), np.eye(4))
        >>> resample_to(fine, Grid((2, 2, 2), np.diag([2.0, 2, 2, 1]))).shape
        (2, 2, 2)
        ```
    """
    if volume.grid.matches(grid, tolerance=1e-4):
        return volume
    image = volume.array.dtype.kind == "f"
    order = int(image) if order is None else order
    fill = (volume.array.min() if image else 0) if outside is None else outside
    array = _transform(volume.array, grid.to(volume.grid), grid.shape, order, fill)
    finite = np.ones(volume.shape, bool) if volume.finite is None else volume.finite
    inside = _transform(finite, grid.to(volume.grid), grid.shape, 0, 0)
    return Volume(array, grid.affine, None, None if inside.all() else inside, volume.name)


def _transform(
    array: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...], order: int, fill: float
) -> np.ndarray:
    """Pull `array` back through an output-to-input voxel matrix."""

    def values(voxels: np.ndarray) -> np.ndarray:
        return sample(array, voxels @ matrix[:3, :3].T + matrix[:3, 3], order, fill)

    return by_slabs(shape, values)
