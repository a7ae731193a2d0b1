"""Which voxels a loss sees, and their labels."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from anyvox_keras.random import choice, fold_in


def sample_positions(keys: Any, grid: Sequence[int], count: int, stream: str) -> Any:
    """Draw `min(count, voxels)` flat positions per key, without replacement, `(B, k)` int32.

    Args:
        keys: `(B, 2)` int32.
        grid: Sides of the grid, `(d, h, w)`.
        count: Most positions.
        stream: Name of the tap, so that taps draw independently.
    """
    voxels = math.prod(grid)
    return choice(fold_in(fold_in(keys, "voxels"), stream), voxels, min(count, voxels))


def rows_at(features: Any, positions: Any) -> Any:
    """Gather `(B, k, C)` rows of `(B, d, h, w, C)` features at flat positions `(B, k)`."""
    batch, *grid, channels = ops.shape(features)
    voxels = math.prod(grid)
    offset = ops.arange(batch, dtype="int32")[:, None] * voxels
    flat = ops.reshape(features, (-1, channels))
    return ops.take(flat, positions + offset, axis=0)


def labels_at(label_map: Any, grid: Sequence[int], positions: Any) -> Any:
    """Read `(B, k)` labels of `(B, D, H, W)` maps at flat positions of a coarser grid.

    Voxel `i` of `m` reads voxel `floor(i n / m)` of `n`: nearest resizing by the floor rule.
    """
    sides = tuple(label_map.shape[1:4])
    index = ops.zeros_like(positions)
    rest = positions
    stride = math.prod(sides)
    voxels = math.prod(grid)
    for coarse, fine in zip(grid, sides, strict=True):
        voxels, stride = voxels // coarse, stride // fine
        index = index + ((rest // voxels) * fine // coarse) * stride
        rest = rest % voxels
    flat = ops.reshape(label_map, (-1, math.prod(sides)))
    return ops.take_along_axis(flat, index, axis=1)
