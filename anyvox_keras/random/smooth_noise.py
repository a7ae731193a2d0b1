"""Smooth random fields and random affine maps."""

import math
from collections.abc import Sequence

import numpy as np
from keras import ops

from anyvox_keras.ops.resize import resize
from anyvox_keras.random.draws import Draw, normal
from anyvox_keras.random.random_layer import Range, ranged
from anyvox_keras.types import Array


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


def node_draws(shape: Sequence[float], scale: float, *channels: int) -> Draw:
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


def affine_plan(count: int, scale: Range, rotation: float, shear: float) -> dict[str, Draw]:
    """Plan `count` affine matrices per sample.

    Args:
        count: Number of matrices per sample.
        scale: Range of the factor per axis, whose sign is flipped with probability 1/2.
        rotation: Angles are U(-rotation, rotation) degrees per axis.
        shear: Entries above the diagonal are U(-shear, shear).
    """
    return {
        "scale": ranged(scale, count, 3),
        "flip": Draw("bernoulli", (count, 3), 0.0, 0.5),
        "rotation": Draw("uniform", (count, 3), -rotation, rotation),
        "shear": Draw("uniform", (count, 3), -shear, shear),
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
