"""A translation, a rigid or an affine map by gradient descent on features."""

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
from keras import ops

from anyvox_keras.backend import compiled, no_gradient, to_numpy, value_and_gradient
from anyvox_keras.errors import one_of
from anyvox_keras.ops import identity_grid, sample_linear
from anyvox_keras.registration.deformable.instance_optimisation import adam_step
from anyvox_keras.types import AffineModel, Array, Function

#: how many numbers each model has: translation, rotation, stretch
FREE = {"translation": 3, "rigid": 6, "affine": 12}
# A stretch by a tenth of one axis costs 0.005: without a price features are matched by magnifying
# a smooth place, which resembles anything.
_STIFFNESS = 0.5
_TINY = 1e-12


def affine_descent(
    fixed: Array,
    moving: Array,
    model: AffineModel = "affine",
    iterations: int = 40,
    rate: float = 0.2,
    size: float | None = None,
    stretched: np.ndarray | None = None,
) -> tuple[np.ndarray, float, float]:
    """Descend with Adam on how well the features correlate, all voxels at once.

    The last channel of both arrays is a weight in `[0, 1]`: where the image is known. `A` is
    `R (I + S)` and a translation about the lattice's centre. With `w(x)` the product of the fixed
    weight at `x` and the moving one at `A x`, and features less their weighted mean,

        rho = sum w F M(A x) / sqrt(sum w |F|^2  sum w |M(A x)|^2)
        loss = 1 - rho c + 0.5 |S_0 + S|^2

    where `c`, the share that is covered, is `sum w` over the geometric mean of the two weights'
    sums, or over the smaller of them where `size` is given. Squared differences would not do:
    interpolation smooths the features, so that half a voxel off always beats the truth.

    Args:
        fixed: `(1, D, H, W, C + 1)` float32 features and weight.
        moving: The same, with any margin, as wide on every side: voxels that a step may reach.
        model: "translation" (three numbers), "rigid" (six) or "affine" (twelve).
        iterations: Steps; they shrink to zero over the descent.
        rate: The first step's length, in voxels at the lattice's border.
        size: The whole moving weight in voxels of this lattice, beyond it too.
        stretched: Six numbers `S_0`, see `stretch_of`: how the map so far stretches.

    Returns:
        `(4, 4)` float64 matrix in voxels of the lattice, fixed to moving; the loss at the identity
        and the loss at the matrix.

    Raises:
        ValueError: If the model is unknown.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import affine_descent

        x = np.random.rand(1, 8, 8, 8, 5).astype("float32")
        matrix, before, after = affine_descent(x, x, "rigid", iterations=5)
        ```
    """
    one_of("model", model, AffineModel)
    stretched = np.zeros(6) if stretched is None else np.asarray(stretched)
    arrays = (fixed, moving, np.zeros(FREE[model]), rate, size or 0.0, stretched)
    tensors = [ops.convert_to_tensor(one, "float32") for one in arrays]
    with no_gradient():
        found = _descent(size is None)(*tensors, ops.convert_to_tensor(iterations, "int32"))
    parameters, before, after = (to_numpy(one) for one in found)
    return _in_voxels(parameters, fixed.shape[1:4]), float(before), float(after)


# One compilation for any number of steps.
@cache
def _descent(paired: bool) -> Function:
    return compiled(partial(_descend, paired))


def _descend(
    paired: bool, fixed: Array, moving: Array, start: Array, rate: Array, size: Array,
    stretched: Array, iterations: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    match = _match(fixed, moving, None if paired else size)

    def loss(parameters: Array) -> Array:
        if parameters.shape[0] < FREE["affine"]:
            return 1.0 - match(parameters)
        stiff = _STIFFNESS * ops.sum(ops.square(parameters[6:] + stretched))
        return 1.0 - match(parameters) + stiff

    gradient = value_and_gradient(loss)
    first = rate / _radius(fixed.shape[1:4])

    def step(i: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, mean, variance = state
        _, slope = gradient(x)
        left = 1.0 - ops.cast(i, "float32") / ops.cast(iterations, "float32")
        return adam_step(x, slope, mean, variance, i, first * left)

    zeros = ops.zeros_like(start)
    found = ops.fori_loop(0, iterations, step, (start, zeros, zeros))[0]
    return found, loss(start), loss(found)


def _match(fixed: Array, moving: Array, size: Array | None) -> Callable[[Array], Array]:
    """Return the function `rho c` of the parameters."""
    here, still = fixed[..., -1:], _centred(fixed)
    there = ops.concatenate([_centred(moving), moving[..., -1:]], axis=-1)
    shape = fixed.shape[1:4]
    middle = (np.array(shape, "float32") - 1) / 2
    margin = (moving.shape[1] - shape[0]) // 2
    radius, centre = _radius(shape), ops.convert_to_tensor(middle + margin)
    unit = ops.convert_to_tensor(((identity_grid(shape) - middle) / radius)[None])

    def match(parameters: Array) -> Array:
        linear = linear_part(parameters)
        turned = sum(unit[..., axis, None] * linear[:, axis] for axis in range(3))
        where = (turned + parameters[:3]) * radius + centre
        moved = sample_linear(there, where)
        values, weight = moved[..., :-1], here * moved[..., -1:]
        product = ops.sum(weight * still * values)
        energy = ops.sum(weight * ops.square(still)) * ops.sum(weight * ops.square(values))
        if size is None:
            full = ops.sqrt(ops.sum(here) * ops.sum(moved[..., -1:]) + _TINY)
        else:
            full = ops.minimum(ops.sum(here), size / volume_factor(parameters)) + _TINY
        return product * ops.rsqrt(energy + _TINY) * ops.sum(weight) / full

    return match


def _centred(features: Array) -> Array:
    """Features less their weighted mean."""
    values, weight = features[..., :-1], features[..., -1:]
    mean = ops.sum(weight * values, axis=(0, 1, 2, 3)) / (ops.sum(weight) + _TINY)
    return values - mean


def _in_voxels(parameters: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    linear = to_numpy(linear_part(parameters)).astype("float64")
    centre = (np.array(shape) - 1) / 2
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = centre - linear @ centre + parameters[:3] * _radius(shape)
    return matrix


def _radius(shape: tuple[int, ...]) -> float:
    """Half the mean side: a change of any parameter moves the border by about as much."""
    return float(np.mean(shape)) / 2


def linear_part(parameters: Array) -> Array:
    """Return the `(3, 3)` matrix `R (I + S)` of three, six or twelve numbers.

    Numbers 3 to 5 are the rotation vector's halves' tangents times two, as a quaternion that is
    scaled to length one; numbers 6 to 11 are `S`, which is symmetric: diagonal, then the upper
    triangle row by row.
    """
    if parameters.shape[0] == FREE["translation"]:
        return ops.eye(3)
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
    """Return the determinant of `linear_part`: one, if nothing stretches."""
    if parameters.shape[0] < FREE["affine"]:
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


def _matrix(rows: Sequence[Sequence[Array | int]]) -> Array:
    return ops.stack([ops.stack(row) for row in rows])
