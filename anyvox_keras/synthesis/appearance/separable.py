"""Linear operators that act on one axis at a time."""

from collections.abc import Sequence

import numpy as np
from keras import ops

from anyvox_keras.ops._backend import Array

_INVERSE_ROOT_TWO = 0.70710678


def apply_matrices(x: Array, matrices: Sequence[Array]) -> Array:
    """Multiply each spatial axis of `(B, D, H, W, C)` by its matrix `(B, m, n)` or `(m, n)`.

    Matrix products run at full speed on every backend whatever the number of taps, and one
    operator holds for all samples, each with its own strength; the identity is exact.

    Args:
        x: `(B, D, H, W, C)` float32.
        matrices: One for D, one for H, one for W.

    Returns:
        `(B, d, h, w, C)`.
    """
    plane, row, line = (ops.convert_to_tensor(matrix) for matrix in matrices)
    depth, height, width, channels = x.shape[1:]
    if channels == 1:
        y = ops.matmul(ops.reshape(x, (-1, depth * height, width)), ops.swapaxes(line, -1, -2))
    else:
        y = ops.matmul(_batched(line, 2), x)
    y = ops.reshape(y, (-1, depth, height, line.shape[-2] * channels))
    y = ops.matmul(_batched(row, 1), y)
    y = ops.matmul(plane, ops.reshape(y, (-1, depth, y.shape[2] * y.shape[3])))
    return ops.reshape(y, (-1, plane.shape[-2], row.shape[-2], line.shape[-2], channels))


def erf_kernel_matrix(sigma: Array, side: int, truncate: float = 4.0) -> Array:
    """Make `(B, side, side)` matrices of MONAI's Gaussian: the bell averaged over each voxel.

    Taps are `erf((d + 1/2) / (sigma sqrt 2)) - erf((d - 1/2) / (sigma sqrt 2))` over 2, for
    distances up to `int(max(sigma truncate, 1/2) + 1/2)`, not normalised; zeros outside the grid.
    """
    sigma = ops.reshape(sigma, (-1, 1, 1))
    index = np.arange(side, dtype="float32")
    distance = np.abs(index[:, None] - index)
    inverse = _INVERSE_ROOT_TWO / ops.maximum(sigma, 1e-6)
    taps = 0.5 * (ops.erf(inverse * (distance + 0.5)) - ops.erf(inverse * (distance - 0.5)))
    tail = ops.floor(ops.maximum(sigma * truncate, 0.5) + 0.5)
    return ops.where(ops.less_equal(distance, tail), taps, 0.0)


def blur(x: Array, sigma: Array) -> Array:
    """Smooth `(B, D, H, W, C)` with one sigma a sample and axis, `(B, 3)`."""
    sides = x.shape[1:4]
    return apply_matrices(x, [erf_kernel_matrix(sigma[:, a], sides[a]) for a in range(3)])


def _batched(matrix: Array, extra: int) -> Array:
    """Insert axes after the batch axis, if there is one."""
    if len(matrix.shape) == 2:
        return matrix
    return ops.reshape(matrix, (-1,) + (1,) * extra + tuple(matrix.shape[1:]))
