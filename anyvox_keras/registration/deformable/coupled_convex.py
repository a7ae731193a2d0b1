"""A smooth displacement from a cost volume, consistent with its inverse."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from keras import ops

from anyvox_keras.backend import compiled
from anyvox_keras.ops import box_filter, identity_grid, sample_linear
from anyvox_keras.registration.deformable.cost_volume import cost_slab, window_offsets
from anyvox_keras.types import Array

# per squared step: where nothing is known, and all displacements cost the same, none is taken
_TIES = 1e-6
# what is unknown follows its surroundings, and those follow it this much
_FAINT = 1e-3
COUPLING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def coupled_convex(
    cost: Array, coupling: Sequence[float] = COUPLING, weight: Array | None = None
) -> Array:
    """Find the displacement that is cheap and smooth, by alternating two convex problems.

    `s` starts as the smoothed pointwise best; then for each coefficient `c`, always from the
    original cost and with `box` the 3x3x3 mean that counts zeros outside,

        d(x) = argmin_d cost(x, d) + c |d - s(x)|^2,        s = box d

    Args:
        cost: `(B, D, H, W, (2 h + 1)^3)` as `cost_volume` returns it.
        coupling: The growing coefficients.
        weight: `(B, D, H, W, 1)` in `[0, 1]`, how much of each voxel is known: `box` is then the
            mean weighted by it, so that what is unknown follows its surroundings.

    Returns:
        `(B, D, H, W, 3)` float32 displacement `s`, in voxels of the cost volume's grid.

    Raises:
        ValueError: If the last axis is not the cube of an odd number.

    Reference:
        Heinrich et al., Non-parametric discrete registration with convex optimisation, WBIR 2014;
        Siebert et al., ConvexAdam, IEEE TMI 2024.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import cost_volume, coupled_convex

        x = np.random.rand(1, 8, 8, 8, 4).astype("float32")
        displacement = coupled_convex(cost_volume(x, x))
        ```
    """
    size = round(cost.shape[-1] ** (1 / 3))
    if size**3 != cost.shape[-1] or size % 2 == 0:
        raise ValueError(
            "`cost` must hold the cube of an odd number of displacements. "
            f"Received: cost.shape={tuple(cost.shape)}"
        )
    offsets = window_offsets(size // 2)
    cost = ops.convert_to_tensor(cost)
    weight = None if weight is None else ops.convert_to_tensor(weight)
    coefficients = ops.convert_to_tensor(np.array(coupling, "float32"))

    def step(i: Array, smooth: Array) -> Array:
        return _mean(_best(_coupled(cost, smooth, coefficients[i]), offsets), weight)

    if weight is not None:
        cost = cost + _TIES * ops.convert_to_tensor((offsets**2).sum(-1))
    found = ops.fori_loop(0, len(coupling), step, _mean(_best(cost, offsets), weight))
    return found if weight is None else filled(found, weight)


def filled(displacement: Array, weight: Array, steps: int = 8) -> Array:
    """Give to what is unknown the displacement of its surroundings, `steps` voxels deep.

    Args:
        displacement: `(B, D, H, W, 3)`.
        weight: `(B, D, H, W, 1)` in `[0, 1]`, how much of each voxel is known; there it stays.
        steps: How often what borders on the known takes over its mean.
    """

    def step(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        field, reached = state
        near = box_filter(reached)
        around = box_filter(field * reached) / (near + 1e-12)
        return weight * displacement + (1.0 - weight) * around, ops.maximum(reached, near)

    result: tuple[Array, Array] = ops.fori_loop(0, steps, step, (displacement, weight))
    return result[0]


def _mean(best: Array, weight: Array | None) -> Array:
    """Mean of the neighbours, who count as far as they are known."""
    if weight is None:
        return box_filter(best)
    weight = weight + _FAINT
    everywhere = box_filter(ops.ones_like(weight))
    return everywhere * box_filter(best * weight) / box_filter(weight)


def coupled_convex_by_slabs(
    fixed: Array, moving: Array, half_width: int, planes: int,
    coupling: Sequence[float] = COUPLING, weights: tuple[Array, Array] | None = None,
) -> Array:  # fmt: skip
    """Return `coupled_convex(cost_volume(fixed, moving, half_width))` and never hold the cost.

    Each step computes the cost anew, some planes at a time: memory for time.

    Args:
        fixed: `(B, D, H, W, C)` float32 features.
        moving: The same shape.
        half_width: Of the window.
        planes: How many to hold, at most `D`.
        coupling: As in `coupled_convex`.
        weights: As in `cost_volume`.

    Returns:
        `(B, D, H, W, 3)` float32 displacement.
    """
    fixed, moving = ops.convert_to_tensor(fixed), ops.convert_to_tensor(moving)
    if weights is not None:
        weights = ops.convert_to_tensor(weights[0]), ops.convert_to_tensor(weights[1])
    depth = fixed.shape[1]
    best, mean = _best_of_slab(half_width, planes), _compiled_mean()
    starts = [*range(0, depth - planes, planes), depth - planes]
    smooth = ops.zeros((*fixed.shape[:4], 3), "float32")
    for coefficient in (0.0 if weights is None else _TIES, *coupling):
        number = ops.convert_to_tensor(coefficient, "float32")
        parts = [
            best(fixed, moving, smooth, number, ops.convert_to_tensor(start, "int32"), weights)
            for start in starts
        ]
        # the last slab ends with the volume and overlaps the one before
        parts[-1] = parts[-1][:, planes * len(starts) - depth :]
        smooth = mean(ops.concatenate(parts, axis=1), None if weights is None else weights[0])
    return smooth if weights is None else filled(smooth, weights[0])


@cache
def _best_of_slab(half_width: int, planes: int) -> Callable[..., Array]:
    offsets = window_offsets(half_width)

    def best(
        fixed: Array, moving: Array, smooth: Array, coefficient: Array, start: Array,
        weights: tuple[Array, Array] | None,
    ) -> Array:  # fmt: skip
        cost = cost_slab(fixed, moving, half_width, start, planes, weights)
        size = (smooth.shape[0], planes, *smooth.shape[2:])
        near = ops.slice(smooth, (0, start, 0, 0, 0), size)
        return _best(_coupled(cost, near, coefficient), offsets)

    return compiled(best)


@cache
def _compiled_mean() -> Callable[..., Array]:
    return compiled(_mean)


def _best(cost: Array, offsets: np.ndarray) -> Array:
    return ops.take(offsets, ops.argmin(cost, axis=-1), axis=0)


def _coupled(cost: Array, smooth: Array, coefficient: Array) -> Array:
    """Return `cost + c |d - s|^2`, less `c |s|^2`, which is the same for every `d`.

    The penalty is a sum over axes, so that most of it is made for the few steps of one axis. It is
    written out, since a matrix product may run in TF32 on a GPU.
    """
    size = round(cost.shape[-1] ** (1 / 3))
    steps = ops.convert_to_tensor(np.arange(size, dtype="float32") - size // 2)
    z, y, x = (
        coefficient * (ops.square(steps) - 2.0 * smooth[..., axis, None] * steps)
        for axis in range(3)
    )
    plane = ops.reshape(y[..., :, None] + x[..., None, :], (*x.shape[:-1], 1, size**2))
    cube = ops.reshape(cost, (*cost.shape[:-1], size, size**2))
    return ops.reshape(cube + (z[..., None] + plane), cost.shape)


def inverse_consistency(
    forward: Array, backward: Array, iterations: int = 15, stretch: bool = False
) -> tuple[Array, Array]:
    """Move two displacements towards being each other's inverse.

    Both at once, `iterations` times, with zero outside the grid:

        f(x) <- (f(x) - b(x + f(x))) / 2,        b(x) <- (b(x) - f(x + b(x))) / 2

    Args:
        forward: `(B, D, H, W, 3)` in voxels.
        backward: The same shape.
        iterations: How often.
        stretch: Look up at `x + u n / (n - 1)`, as ConvexAdam does.

    Returns:
        The two displacements.

    Reference:
        Siebert et al., ConvexAdam, IEEE TMI 2024.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import inverse_consistency

        shift = np.ones((1, 8, 8, 8, 3), "float32")
        forward, backward = inverse_consistency(shift, -shift)
        ```
    """

    def step(_: Array, fields: tuple[Array, Array]) -> tuple[Array, Array]:
        f, b = fields
        return (
            0.5 * (f - sample_displaced(b, f, stretch)),
            0.5 * (b - sample_displaced(f, b, stretch)),
        )

    start = (ops.convert_to_tensor(forward), ops.convert_to_tensor(backward))
    result: tuple[Array, Array] = ops.fori_loop(0, iterations, step, start)
    return result


def sample_displaced(x: Array, displacement: Array, stretch: bool = False) -> Array:
    """Read `x` at `x + u(x)`, zeros outside; with `stretch` at `x + u n / (n - 1)`.

    ConvexAdam normalises displacements by `n - 1` voxels but coordinates by `n`; its results can
    be reproduced only with the same stretch.
    """
    shape = displacement.shape[1:4]
    if stretch:
        factors = [n / max(n - 1, 1) for n in shape]
        displacement = displacement * ops.convert_to_tensor(factors, "float32")
    return sample_linear(x, displacement + ops.convert_to_tensor(identity_grid(shape)))
