"""Normalisation that a few bright voxels do not spoil."""

import math

from keras import ops

from anyvox_keras.backend import Array


def percentile_rescale(x: Array, percentile: float = 99.99) -> Array:
    """Map each sample's minimum to 0 and a high percentile to 1, without clipping.

    The percentile is numpy's, linear between ranks. A constant sample becomes 0.

    Args:
        x: `(B, D, H, W, C)` float32.
        percentile: In (50, 100].

    Returns:
        Same shape.

    Raises:
        ValueError: If `percentile` is not in (50, 100].

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.augmentation import percentile_rescale

        unit = percentile_rescale(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """
    if not 50 < percentile <= 100:
        raise ValueError(f"`percentile` must be in (50, 100]. Received: percentile={percentile}")
    x = ops.convert_to_tensor(x)
    voxels = math.prod(x.shape[1:])
    # Ranks from the top: only the few largest values are sorted.
    rank = (1 - percentile / 100) * (voxels - 1)
    below = math.floor(rank)
    largest = ops.top_k(ops.reshape(x, (-1, voxels)), min(below + 2, voxels))[0]
    upper, lower = largest[:, below], largest[:, min(below + 1, voxels - 1)]
    high = upper + (lower - upper) * (rank - below)
    low = ops.min(x, axis=(1, 2, 3, 4), keepdims=True)
    extent = high[:, None, None, None, None] - low
    return (x - low) / ops.where(extent > 0, extent, 1.0)
