"""Voxel coordinates."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

Array = Any


def identity_grid(shape: Sequence[int]) -> np.ndarray:
    """Coordinates of every voxel, `(D, H, W, 3)` float32 in `ij` order.

    Example:
        ```python
        from anyvox_keras.ops import identity_grid

        assert identity_grid((2, 3, 4))[1, 2, 3].tolist() == [1.0, 2.0, 3.0]
        ```
    """
    axes = [np.arange(side, dtype="float32") for side in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def affine_grid(matrix: Array, shape: Sequence[int]) -> Array:
    """Map every output voxel to input coordinates, `x -> A x + t`.

    The result is a broadcast sum of three vectors per component; no full grid is multiplied.

    Args:
        matrix: `(B, 3, 4)` or `(B, 4, 4)` float32, `[A | t]` from output to input voxels.
        shape: Output shape `(D, H, W)`.

    Returns:
        `(B, D, H, W, 3)` float32.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import affine_grid

        coordinates = affine_grid(np.eye(4, dtype="float32")[None], (8, 8, 8))
        ```
    """
    matrix = ops.cast(matrix, "float32")[:, None, None, None]
    i, j, k = (ops.arange(side, dtype="float32")[:, None] for side in shape)
    return (
        matrix[..., :3, 0] * i[:, None, None]
        + matrix[..., :3, 1] * j[:, None]
        + matrix[..., :3, 2] * k
        + matrix[..., :3, 3]
    )
