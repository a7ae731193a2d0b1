"""Smooth random fields."""

import math
from collections.abc import Sequence
from typing import Any

from anyvox_keras.ops.resize import resize
from anyvox_keras.random.draws import normal

Array = Any


def smooth_noise(keys: Array, shape: Sequence[int], scale: float, channels: int = 1) -> Array:
    """Draw Gaussian noise on a coarse grid and upsample it trilinearly.

    The coarse grid has `ceil(S / scale)` nodes of unit variance per axis; upsampling is half-pixel.

    Args:
        keys: `(B, 2)` int32.
        shape: Spatial shape `(D, H, W)` of the field.
        scale: Distance of the nodes in voxels, above 0.
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
