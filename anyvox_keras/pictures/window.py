"""Display windows for grey values."""

import numpy as np


def window(image: np.ndarray, low: float = 0.5, high: float = 99.5) -> np.ndarray:
    """Scale an image to [0, 1] between two percentiles of its values above the background.

    Args:
        image: any shape; its most common value is the background when it is the smallest.
        low: percentile that becomes 0.
        high: percentile that becomes 1.

    Returns:
        float32 of the same shape, clipped to [0, 1]; zeros for a constant image.

    Example:
        ```python
        >>> window(np.arange(5.0), 0, 100).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
        ```
    """
    image = np.asarray(image, "float32")
    values = image[np.isfinite(image)]
    # a large empty background would otherwise dominate the percentiles
    content = values[values > values.min()] if values.size else values
    if not content.size:
        return np.zeros(image.shape, "float32")
    bottom = min(float(np.percentile(content, low)), float(np.percentile(values, low)))
    top = float(np.percentile(content, high))
    scaled = (np.nan_to_num(image, nan=bottom) - bottom) / max(top - bottom, 1e-12)
    return np.asarray(np.clip(scaled, 0, 1), "float32")
