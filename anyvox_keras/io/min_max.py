"""Intensities on one scale."""

import numpy as np


def min_max(image: np.ndarray) -> np.ndarray:
    """Map the minimum to 0 and the maximum to 1, in float32; a constant image becomes 0.

    Example:
        ```python
        >>> min_max(np.array([1.0, 2.0, 3.0]))
        array([0. , 0.5, 1. ], dtype=float32)
        ```
    """
    low, high = float(image.min()), float(image.max())
    return ((image - low) / (high - low if high > low else 1.0)).astype("float32")
