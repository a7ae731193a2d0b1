"""A smooth displacement from a cost volume."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras.backend import compiled
from anyvox_keras.ops import box_filter
from anyvox_keras.registration.deformable.cost_volume import cost_slab, window_offsets

Array = Any

COUPLING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def coupled_convex(cost: Array, coupling: Sequence[float] = COUPLING) -> Array:
    """Find the displacement that is cheap and smooth, by alternating two convex problems.

    `s` starts as the smoothed pointwise best; then for each coefficient `c`, always from the
    original cost and with `box` the 3x3x3 mean that counts zeros outside,

        d(x) = argmin_d cost(x, d) + c |d - s(x)|^2,        s = box d

    Args:
        cost: `(B, D, H, W, (2 h + 1)^3)` as `cost_volume` returns it.
        coupling: The growing coefficients.

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
    coefficients = ops.convert_to_tensor(np.array(coupling, "float32"))

    def step(i: Array, smooth: Array) -> Array:
        return box_filter(_best(_coupled(cost, smooth, coefficients[i]), offsets))

    return ops.fori_loop(0, len(coupling), step, box_filter(_best(cost, offsets)))


def coupled_convex_by_slabs(
    fixed: Array, moving: Array, half_width: int, planes: int, coupling: Sequence[float] = COUPLING
) -> Array:
    """Return `coupled_convex(cost_volume(fixed, moving, half_width))` and never hold the cost.

    Each step computes the cost anew, some planes at a time: memory for time.

    Args:
        fixed: `(B, D, H, W, C)` float32 features.
        moving: The same shape.
        half_width: Of the window.
        planes: How many to hold, at most `D`.
        coupling: As in `coupled_convex`.

    Returns:
        `(B, D, H, W, 3)` float32 displacement.
    """
    depth = fixed.shape[1]
    best, mean = _best_of_slab(half_width, planes), _mean()
    starts = [*range(0, depth - planes, planes), depth - planes]
    smooth = ops.zeros((*fixed.shape[:4], 3), "float32")
    for coefficient in (0.0, *coupling):
        number = ops.convert_to_tensor(coefficient, "float32")
        parts = [
            best(fixed, moving, smooth, number, ops.convert_to_tensor(start, "int32"))
            for start in starts
        ]
        # the last slab ends with the volume and overlaps the one before
        parts[-1] = parts[-1][:, planes * len(starts) - depth :]
        smooth = mean(ops.concatenate(parts, axis=1))
    return smooth


@cache
def _best_of_slab(half_width: int, planes: int) -> Callable[..., Array]:
    offsets = window_offsets(half_width)

    def best(fixed: Array, moving: Array, smooth: Array, coefficient: Array, start: Array) -> Array:
        cost = cost_slab(fixed, moving, half_width, start, planes)
        size = (smooth.shape[0], planes, *smooth.shape[2:])
        near = ops.slice(smooth, (0, start, 0, 0, 0), size)
        return _best(_coupled(cost, near, coefficient), offsets)

    return compiled(best)


@cache
def _mean() -> Callable[[Array], Array]:
    return compiled(box_filter)


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
