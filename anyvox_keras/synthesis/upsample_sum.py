"""Multi-scale smooth fields from their nodes."""

import math
from collections.abc import Sequence

import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.ops._backend import Array


def node_draws(shape: Sequence[int], scale: float, *channels: int) -> random.Draw:
    """Plan standard normals on `ceil(S / scale)` nodes per axis, `(B, d, h, w[, channels])`."""
    return random.Draw("normal", (*(math.ceil(side / scale) for side in shape), *channels))


def upsample_sum(nodes: Sequence[Array], shape: Sequence[int]) -> Array:
    """Upsample several grids of nodes trilinearly (half-pixel) and add them up.

    Separable, as matrix products; the products along the last two axes are small, and the last
    one adds the grids up as it goes: one pass over the volume whatever the number of grids.

    Args:
        nodes: Grids `(B, d, h, w)`, each of its own size.
        shape: `(D, H, W)` of the result.

    Returns:
        `(B, D, H, W)` float32.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.upsample_sum import upsample_sum

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
