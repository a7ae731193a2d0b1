"""Min-max normalisation."""

from typing import Any

from keras import ops

from anyvox_keras.backend import Array

AXES = (1, 2, 3, 4)


def rescale(x: Array) -> Array:
    """Map each sample's smallest value to 0 and its largest to 1; a constant one becomes 0.

    Args:
        x: `(B, D, H, W, C)` float32.

    Returns:
        The same shape, in [0, 1].

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import rescale

        unit = rescale(np.random.rand(1, 8, 8, 8, 1).astype("float32"))
        ```
    """
    x = ops.convert_to_tensor(x)
    low, extent = extremes(x)
    return (x - low) / ops.where(extent > 0, extent, 1.0)


def extremes(x: Any) -> tuple[Array, Array]:
    """Smallest value and range of each sample, `(B, 1, 1, 1, 1)`."""
    low = ops.min(x, axis=AXES, keepdims=True)
    return low, ops.max(x, axis=AXES, keepdims=True) - low
