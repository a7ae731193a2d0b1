"""Linear filters and pooling."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras.ops.pad import pad

Array = Any


def correlate_axis(x: Array, weights: Array, axis: int, mode: str = "zeros") -> Array:
    """Correlate one spatial axis with an odd number of weights.

    Args:
        x: `(B, D, H, W, C)` float.
        weights: `(n,)`, the same for all samples, or `(B, n)`; `n` odd.
        axis: 1, 2 or 3.
        mode: How the edge is padded, see `pad`.

    Returns:
        Same shape as `x`.

    Raises:
        ValueError: If the number of weights is even.
    """
    taps = int(weights.shape[-1])
    if taps % 2 == 0:
        raise ValueError(f"the number of `weights` must be odd. Received: {taps}")
    pads = [(taps // 2, taps // 2) if a == axis else (0, 0) for a in (1, 2, 3)]
    padded = pad(x, pads, mode)
    weights = ops.cast(ops.reshape(weights, (-1, taps)), x.dtype)
    total = 0.0
    for tap in range(taps):
        window = (slice(None),) * axis + (slice(tap, tap + x.shape[axis]),)
        total = total + padded[window] * weights[:, tap][:, None, None, None, None]
    return total


def gaussian_filter(
    x: Array, sigma: float | Sequence[float], truncate: float = 4.0, mode: str = "symmetric"
) -> Array:
    """Smooth with a sampled, normalised Gaussian of radius `int(truncate sigma + 1/2)`, as scipy.

    Args:
        x: `(B, D, H, W, C)` float.
        sigma: Standard deviation in voxels, one number or one per axis.
        truncate: Radius in standard deviations.
        mode: How the edge is padded, see `pad`; "symmetric" is scipy's default, `reflect`.

    Returns:
        Same shape as `x`.

    Raises:
        ValueError: If a sigma is negative.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import gaussian_filter

        smooth = gaussian_filter(np.random.rand(1, 16, 16, 16, 1).astype("float32"), 1.5)
        ```
    """
    sigmas = [float(s) for s in np.broadcast_to(sigma, 3)]
    if min(sigmas) < 0:
        raise ValueError(f"`sigma` must be >= 0. Received: sigma={sigma}")
    for axis, std in enumerate(sigmas, start=1):
        radius = int(truncate * std + 0.5)
        if radius:
            distance = np.arange(-radius, radius + 1)
            weights = np.exp(-0.5 * (distance / std) ** 2)
            x = correlate_axis(x, (weights / weights.sum()).astype("float32"), axis, mode)
    return x


def box_filter(x: Array, size: int = 3, mode: str = "zeros") -> Array:
    """Mean over a cube; with mode "zeros" the padding counts in the mean, as in ConvexAdam.

    Args:
        x: `(B, D, H, W, ...)` float.
        size: Voxels along the cube's side, odd.
        mode: How the edge is padded, see `pad`.

    Returns:
        Same shape as `x`.

    Raises:
        ValueError: If `size` is even.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import box_filter

        mean = box_filter(np.ones((1, 8, 8, 8, 1), "float32"))
        ```
    """
    if size % 2 == 0:
        raise ValueError(f"`size` must be odd. Received: size={size}")
    # One padding and sums along the rows: half the time of `correlate_axis`.
    x = pad(ops.convert_to_tensor(x), ((size // 2, size // 2),) * 3, mode)
    for axis in (1, 2, 3):
        length, lead = x.shape[axis] - size + 1, (slice(None),) * axis
        parts = [x[(*lead, slice(tap, tap + length))] for tap in range(size)]
        x = sum(parts[1:], parts[0]) * (1.0 / size)
    return x


def average_pool(x: Array, size: int = 2) -> Array:
    """Mean over blocks of `size`^3; voxels that do not fill a block are dropped."""
    return ops.average_pool(x, size, strides=size, padding="valid", data_format="channels_last")


def max_pool(x: Array, size: int = 2) -> Array:
    """Maximum over blocks of `size`^3; voxels that do not fill a block are dropped."""
    return ops.max_pool(x, size, strides=size, padding="valid", data_format="channels_last")
