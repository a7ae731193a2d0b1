"""Smooth random fields."""

import math
from collections.abc import Sequence

import numpy as np
from keras import ops

from anyvox_keras.backend import Array
from anyvox_keras.ops.resize import resize
from anyvox_keras.random.draw_all import Draw
from anyvox_keras.random.draws import normal


def smooth_noise(keys: Array, shape: Sequence[int], scale: float, channels: int = 1) -> Array:
    """Draw Gaussian noise on a coarse grid and upsample it trilinearly.

    The coarse grid has `ceil(S / scale)` nodes of unit variance per axis; upsampling is half-pixel.

    Args:
        keys: `(B, 2)` int32.
        shape: Spatial shape `(D, H, W)` of the field.
        scale: Distance between the nodes in voxels, above 0.
        channels: Number of independent components.

    Returns:
        `(B, D, H, W, channels)` float32.

    Raises:
        ValueError: If `scale` is not above 0.

    Example:
        ```python
        from anyvox_keras.random import keys_for, smooth_noise

        field = smooth_noise(keys_for(0, range(1)), (32, 32, 32), scale=8, channels=3)
        ```
    """
    if not scale > 0:
        raise ValueError(f"`scale` must be > 0. Received: scale={scale}")
    nodes = [math.ceil(side / scale) for side in shape]
    return resize(normal(keys, (*nodes, channels)), shape)


def node_draws(shape: Sequence[int], scale: float, *channels: int) -> Draw:
    """Plan standard normals on `ceil(S / scale)` nodes per axis, `(B, d, h, w[, channels])`."""
    return Draw("normal", (*(math.ceil(side / scale) for side in shape), *channels))


def upsample_sum(nodes: Sequence[Array], shape: Sequence[int]) -> Array:
    """Upsample several grids of nodes trilinearly (half-pixel) and add them up.

    The upsampling is separable and done by matrix products. The last product also sums the grids:
    one pass over the volume whatever the number of grids.

    Args:
        nodes: Grids `(B, d, h, w)`, each of its own size.
        shape: `(D, H, W)` of the result.

    Returns:
        `(B, D, H, W)` float32.

    Example:
        ```python
        import numpy as np

        grids = [np.ones((1, n, n, n), "float32") for n in (4, 8)]
        field = upsample_sum(grids, (32, 32, 32))  # 2 everywhere
        ```
    """
    rows = []
    for grid in nodes:
        _, _, height, width = grid.shape
        plane = ops.matmul(grid, linear_matrix(width, shape[2]).T)
        rows.append(ops.matmul(linear_matrix(height, shape[1]), plane))
    stacked = ops.concatenate(
        [ops.reshape(x, (-1, x.shape[1], shape[1] * shape[2])) for x in rows], 1
    )
    columns = np.concatenate([linear_matrix(x.shape[1], shape[0]) for x in rows], axis=1)
    return ops.reshape(ops.matmul(columns, stacked), (-1, *shape))


def linear_matrix(nodes: int, size: int) -> np.ndarray:
    """Make the `(size, nodes)` matrix of half-pixel linear interpolation, edges clamped."""
    coordinate = np.clip((np.arange(size) + 0.5) * (nodes / size) - 0.5, 0, nodes - 1)
    low = np.minimum(coordinate.astype(int), max(nodes - 2, 0))
    weight = coordinate - low
    matrix = np.zeros((size, nodes), "float32")
    matrix[np.arange(size), low] = 1 - weight
    if nodes > 1:
        matrix[np.arange(size), low + 1] = weight
    return matrix
