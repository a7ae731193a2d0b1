"""Affine matrices of templates."""

import math

import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.ops._backend import Array


def rotation_matrix(degrees: Array) -> Array:
    """Make `Rx Ry Rz` from angles about the axes, `(..., 3)` degrees -> `(..., 3, 3)`."""
    radians = degrees * (math.pi / 180)
    (cx, cy, cz), (sx, sy, sz) = (
        [f(radians[..., axis]) for axis in range(3)] for f in (ops.cos, ops.sin)
    )
    rows = [
        [cy * cz, -cy * sz, sy],
        [cx * sz + sx * sy * cz, cx * cz - sx * sy * sz, -sx * cy],
        [sx * sz - cx * sy * cz, sx * cz + cx * sy * sz, cx * cy],
    ]
    return ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)


def random_affine(
    keys: Array, count: int, scale: random.Range, rotation: float, shear: float
) -> Array:
    """Draw `count` matrices scale x rotation x shear a sample, `(B, count, 3, 3)`.

    Args:
        keys: `(B, 2)`.
        count: Matrices a sample.
        scale: Range of the factor per axis, whose sign is flipped with probability 1/2.
        rotation: Angles are U(-rotation, rotation) degrees per axis, composed as `Rx Ry Rz`.
        shear: Entries above the diagonal are U(-shear, shear).

    Returns:
        Output-to-input matrices.
    """
    shape = (count, 3)
    factor = scale.sample(random.fold_in(keys, "scale"), shape)
    flip = random.bernoulli(random.fold_in(keys, "flip"), shape, 0.5)
    factor = ops.where(flip, -factor, factor)
    angles = random.uniform(random.fold_in(keys, "rotation"), shape, -rotation, rotation)
    upper = random.uniform(random.fold_in(keys, "shear"), shape, -shear, shear)
    one, zero = ops.ones_like(upper[..., 0]), ops.zeros_like(upper[..., 0])
    rows = [
        [one, upper[..., 0], upper[..., 1]],
        [zero, one, upper[..., 2]],
        [zero, zero, one],
    ]
    shears = ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)
    return factor[..., None] * product(rotation_matrix(angles), shears)


def product(a: Array, b: Array) -> Array:
    """Multiply 3x3 matrices in one fixed order, free of a GPU's reduced matrix precision."""
    a, b = ops.convert_to_tensor(a), ops.convert_to_tensor(b)
    terms = [a[..., :, i, None] * b[..., None, i, :] for i in range(np.shape(a)[-1])]
    return terms[0] + terms[1] + terms[2]
