"""How well the features match at every displacement of a window."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras.ops import box_filter, pad

Array = Any
# means that smooth a cost; each reaches one voxel further
_MEANS = 2


def window_offsets(half_width: int) -> np.ndarray:
    """The displacements of a window, `((2 half_width + 1)^3, 3)` float32, last axis fastest."""
    steps = range(-half_width, half_width + 1)
    return np.array(list(itertools.product(steps, repeat=3)), "float32")


def cost_volume(
    fixed: Array, moving: Array, half_width: int = 1, distance: str = "squared"
) -> Array:
    """Compare the features at every voxel for each whole displacement in a window.

    With the moving features zero outside their grid and `box` the 3x3x3 mean that counts zeros
    outside:

        cost(x, d) = box box sum_c (fixed_c(x) - moving_c(x + d))^2          ("squared")
        cost(x, d) = box box (1 - cos(fixed(x), moving(x + d)))              ("cosine")

    One row of the window is compared at a time, so nothing larger than the result and one row's
    differences is ever held.

    Args:
        fixed: `(B, D, H, W, C)` float32 features, usually pooled to a coarse grid.
        moving: The same shape.
        half_width: `d` takes the values `-half_width .. half_width` on each axis.
        distance: "squared" or "cosine".

    Returns:
        `(B, D, H, W, (2 half_width + 1)^3)` float32, displacements as in `window_offsets`.

    Raises:
        ValueError: If the shapes differ, `half_width` is below one or `distance` is unknown.

    Reference:
        Siebert et al., ConvexAdam, IEEE TMI 2024.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import cost_volume

        x = np.random.rand(1, 8, 8, 8, 4).astype("float32")
        cost = cost_volume(x, x, half_width=1)
        ```
    """
    if tuple(fixed.shape[1:]) != tuple(moving.shape[1:]):
        raise ValueError(
            "`fixed` and `moving` must have one shape. "
            f"Received: {tuple(fixed.shape)} and {tuple(moving.shape)}"
        )
    if half_width < 1:
        raise ValueError(f"`half_width` must be >= 1. Received: half_width={half_width}")
    if distance not in ("squared", "cosine"):
        raise ValueError(f"`distance` must be squared or cosine. Received: distance={distance}")
    fixed, moving = ops.convert_to_tensor(fixed), ops.convert_to_tensor(moving)
    if distance == "cosine":
        fixed, moving = unit_length(fixed), unit_length(moving)
    moving = pad(moving, ((half_width, half_width),) * 3, "zeros")
    cost = _compare(fixed, moving, half_width, lambda cost: box_filter(box_filter(cost)))
    return 0.5 * cost if distance == "cosine" else cost


def cost_slab(fixed: Array, moving: Array, half_width: int, start: Array, planes: int) -> Array:
    """Planes `start .. start + planes` of `cost_volume`, by the squared distance.

    Args:
        fixed: `(B, D, H, W, C)` float32 features.
        moving: The same shape.
        half_width: As for `cost_volume`.
        start: First plane along the first axis; an integer array, so that one compiled function
            serves every slab.
        planes: How many, at most the volume's depth.

    Returns:
        `(B, planes, H, W, (2 half_width + 1)^3)` float32.
    """
    batch, depth, height, width, channels = fixed.shape
    reach = _MEANS
    fixed = pad(fixed, ((reach, reach), (0, 0), (0, 0)), "zeros")
    around = (reach + half_width, half_width, half_width)
    moving = pad(moving, tuple((n, n) for n in around), "zeros")
    count = planes + 2 * reach
    size = (batch, count + 2 * half_width, *moving.shape[2:])
    fixed = ops.slice(fixed, (0, start, 0, 0, 0), (batch, count, height, width, channels))
    moving = ops.slice(moving, (0, start, 0, 0, 0), size)
    plane = ops.arange(count, dtype="int32") + start - reach
    # what lies beyond the volume counts as zero in each mean
    inside = ops.cast(ops.logical_and(plane >= 0, plane < depth), "float32")
    inside = ops.reshape(inside, (1, count, 1, 1, 1))

    def smooth(cost: Array) -> Array:
        return box_filter(box_filter(cost * inside) * inside)[:, reach:-reach]

    return _compare(fixed, moving, half_width, smooth)


def unit_length(features: Array) -> Array:
    """Scale each voxel's features to length one; zero stays zero."""
    return features * ops.rsqrt(ops.sum(ops.square(features), axis=-1, keepdims=True) + 1e-12)


def _compare(
    fixed: Array, padded: Array, half_width: int, smooth: Callable[[Array], Array]
) -> Array:
    """Squared distance to the padded moving features at every displacement, smoothed."""
    _, depth, height, width, channels = fixed.shape
    batch = ops.shape(fixed)[0]  # a model's is not known when TensorFlow traces it
    taps = range(2 * half_width + 1)

    def row(start: Array) -> Array:
        size = (batch, depth, height, width + 2 * half_width, channels)
        window = ops.slice(padded, (0, start[0], start[1], 0, 0), size)
        parts = [
            ops.sum(ops.square(fixed - window[:, :, :, tap : tap + width]), axis=-1) for tap in taps
        ]
        return smooth(ops.stack(parts, axis=-1))

    starts = np.array(list(itertools.product(taps, repeat=2)), "int32")
    rows = ops.map(row, ops.convert_to_tensor(starts))
    rows = ops.transpose(rows, (1, 2, 3, 4, 0, 5))
    return ops.reshape(rows, (batch, *rows.shape[1:4], len(taps) ** 3))
