"""Sampling on the host by ITK's rule, one slab at a time."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage


def sample(array: np.ndarray, voxels: np.ndarray, order: int, fill: float) -> np.ndarray:
    """Values of `array` at `(..., 3)` voxel coordinates, linear (1) or nearest (0).

    As in ITK the image reaches half a voxel beyond its outer voxels' centres, where the edge is
    repeated; beyond that comes `fill`. A tie of nearest goes up.
    """
    last = np.asarray(array.shape[:3]) - 1
    inside = ((voxels >= -0.5) & (voxels < last + 0.5)).all(-1)
    source = array.astype("uint8") if array.dtype == bool else array
    where = np.moveaxis(np.clip(voxels, 0, last), -1, 0)
    values = ndimage.map_coordinates(source, where, order=order, mode="nearest")
    return np.where(inside, values, fill).astype(array.dtype)


def by_slabs(
    shape: tuple[int, ...], compute: Callable[[np.ndarray], np.ndarray], voxels: int = 2**20
) -> np.ndarray:
    """Fill an array of `shape` by `compute(voxel coordinates)`, about `voxels` at a time.

    Coordinates take 24 bytes a voxel, six times a float image: never hold them all.
    """
    step = max(1, voxels // int(np.prod(shape[1:])))
    parts = []
    for start in range(0, shape[0], step):
        rows = np.arange(start, min(start + step, shape[0]))
        axes = np.meshgrid(rows, *map(np.arange, shape[1:]), indexing="ij")
        parts.append(compute(np.stack(axes, -1).astype("float64")))
    return np.concatenate(parts)
