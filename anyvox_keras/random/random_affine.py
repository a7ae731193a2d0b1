"""Affine matrices of templates."""

import math
from collections.abc import Sequence

from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import Array
from anyvox_keras.random.random_layer import ranged


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


def affine_plan(
    count: int, scale: random.Range, rotation: float, shear: float
) -> dict[str, random.Draw]:
    """Plan `count` affine matrices per sample.

    Args:
        count: Number of matrices per sample.
        scale: Range of the factor per axis, whose sign is flipped with probability 1/2.
        rotation: Angles are U(-rotation, rotation) degrees per axis.
        shear: Entries above the diagonal are U(-shear, shear).
    """
    return {
        "scale": ranged(scale, count, 3),
        "flip": random.Draw("bernoulli", (count, 3), 0.0, 0.5),
        "rotation": random.Draw("uniform", (count, 3), -rotation, rotation),
        "shear": random.Draw("uniform", (count, 3), -shear, shear),
    }


def affine_matrix(drawn: dict[str, Array]) -> Array:
    """Multiply scale x rotation x shear, `(B, count, 3, 3)`, the rotation being `Rx Ry Rz`."""
    factor = ops.where(drawn["flip"], -drawn["scale"], drawn["scale"])
    upper = drawn["shear"]
    one, zero = ops.ones_like(upper[..., 0]), ops.zeros_like(upper[..., 0])
    rows = [
        [one, upper[..., 0], upper[..., 1]],
        [zero, one, upper[..., 2]],
        [zero, zero, one],
    ]
    shears = ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)
    return factor[..., None] * product(rotation_matrix(drawn["rotation"]), shears)


def product(a: Array, b: Array) -> Array:
    """Multiply 3x3 matrices in one fixed order, free of a GPU's reduced matrix precision."""
    terms = [a[..., :, i, None] * b[..., None, i, :] for i in range(3)]
    return terms[0] + terms[1] + terms[2]


def about_centre(matrix: Array, shape: Sequence[int]) -> Array:
    """Make `(B, 3, 4)` maps `x -> M (x - c) + c` about the centre of a grid."""
    centre = ops.convert_to_tensor([(side - 1) / 2 for side in shape], "float32")
    turned = ops.sum(matrix * centre, axis=-1)
    return ops.concatenate([matrix, (centre - turned)[..., None]], axis=-1)
