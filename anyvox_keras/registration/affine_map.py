"""Twelve numbers that stand for an affine map."""

from typing import Any

import numpy as np
from keras import ops

Array = Any
#: how many numbers each model has: translation, rotation, stretch
FREE = {"rigid": 6, "affine": 12}


def linear_part(parameters: Array) -> Array:
    """Return the `(3, 3)` matrix `R (I + S)` of six or twelve numbers.

    Numbers 3 to 5 are the rotation vector's halves' tangents times two, as a quaternion that is
    scaled to length one; numbers 6 to 11 are `S`, which is symmetric: diagonal, then the upper
    triangle row by row.
    """
    x, y, z = (parameters[3 + axis] / 2 for axis in range(3))
    rotation = [
        [1 + x * x - y * y - z * z, 2 * (x * y - z), 2 * (x * z + y)],
        [2 * (x * y + z), 1 - x * x + y * y - z * z, 2 * (y * z - x)],
        [2 * (x * z - y), 2 * (y * z + x), 1 - x * x - y * y + z * z],
    ]
    length = 1 + x * x + y * y + z * z
    if parameters.shape[0] == FREE["rigid"]:
        return _matrix(rotation) / length
    a, b, c, d, e, f = _stretch(parameters)
    stretch = ([a, d, e], [d, b, f], [e, f, c])
    # written out, since a matrix product may run in TF32 on a GPU
    product = [
        [sum(row[k] * stretch[k][column] for k in range(3)) for column in range(3)]
        for row in rotation
    ]
    return _matrix(product) / length


def volume_factor(parameters: Array) -> Array:
    """Return the determinant of `linear_part`: a rotation's is one."""
    if parameters.shape[0] == FREE["rigid"]:
        return ops.ones(())
    a, b, c, d, e, f = _stretch(parameters)
    return a * (b * c - f * f) - d * (d * c - e * f) + e * (d * f - b * e)


def stretch_of(linear: np.ndarray) -> np.ndarray:
    """Return the six numbers of `S` of any invertible matrix, by its polar decomposition."""
    _, lengths, axes = np.linalg.svd(linear)
    stretch = axes.T @ np.diag(lengths) @ axes - np.eye(3)
    return np.concatenate([np.diag(stretch), stretch[np.triu_indices(3, 1)]])


def _stretch(parameters: Array) -> list[Array]:
    diagonal = [1 + parameters[6 + number] for number in range(3)]
    return diagonal + [parameters[9 + number] for number in range(3)]


def _matrix(rows: list[list[Array]]) -> Array:
    return ops.stack([ops.stack(row) for row in rows])
