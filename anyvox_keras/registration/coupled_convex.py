"""A smooth displacement from a cost volume."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras.ops import box_filter
from anyvox_keras.registration.cost_volume import window_offsets

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
    smooth = _best(cost, offsets)
    lengths = ops.convert_to_tensor((offsets**2).sum(-1))

    coefficients = ops.convert_to_tensor(np.array(coupling, "float32"))

    def step(i: Array, smooth: Array) -> Array:
        # |d - s|^2 without |s|^2, which is the same for every d
        penalty = lengths - 2.0 * _inner(smooth, offsets)
        return _best(cost + coefficients[i] * penalty, offsets)

    return ops.fori_loop(0, len(coupling), step, smooth)


def _best(cost: Array, offsets: np.ndarray) -> Array:
    return box_filter(ops.take(offsets, ops.argmin(cost, axis=-1), axis=0))


def _inner(smooth: Array, offsets: np.ndarray) -> Array:
    """`s . d` for every offset; written out, since a matrix product may run in TF32 on a GPU."""
    parts = [smooth[..., axis, None] * offsets[:, axis] for axis in range(3)]
    return parts[0] + parts[1] + parts[2]
