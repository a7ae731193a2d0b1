"""How well the features match at every displacement of a window."""

import itertools
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras.ops import box_filter, pad

Array = Any


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
    rows = _rows(fixed, moving, half_width)
    batch, depth, height, width = fixed.shape[:4]
    rows = ops.transpose(rows, (1, 2, 3, 4, 0, 5))
    cost = ops.reshape(rows, (batch, depth, height, width, (2 * half_width + 1) ** 3))
    return 0.5 * cost if distance == "cosine" else cost


def unit_length(features: Array) -> Array:
    """Scale each voxel's features to length one; zero stays zero."""
    return features * ops.rsqrt(ops.sum(ops.square(features), axis=-1, keepdims=True) + 1e-12)


def _rows(fixed: Array, moving: Array, half_width: int) -> Array:
    """Smoothed costs of the window's rows, `(rows, B, D, H, W, row)`."""
    batch, depth, height, width, channels = fixed.shape
    padded = pad(moving, ((half_width, half_width),) * 3, "zeros")
    taps = np.arange(2 * half_width + 1)
    columns = (np.arange(width)[:, None] + taps).reshape(-1).astype("int32")

    def row(start: Array) -> Array:
        size = (batch, depth, height, width + 2 * half_width, channels)
        window = ops.slice(padded, (0, start[0], start[1], 0, 0), size)
        window = ops.take(window, columns, axis=3)
        window = ops.reshape(window, (-1, depth, height, width, len(taps), channels))
        cost = ops.sum(ops.square(fixed[..., None, :] - window), axis=-1)
        return box_filter(box_filter(cost))

    starts = np.array(list(itertools.product(taps, repeat=2)), "int32")
    return ops.map(row, ops.convert_to_tensor(starts))
