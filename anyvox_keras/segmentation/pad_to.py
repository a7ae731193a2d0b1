"""Volumes smaller than a window."""

from collections.abc import Sequence

import numpy as np


def pad_to(array: np.ndarray, sides: Sequence[int]) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Pad `(D, H, W, ...)` with its smallest value to at least `sides`, centred.

    Returns:
        The padded array, and the place of the original in it.

    Example:
        ```python
        >>> padded, inside = pad_to(np.ones((2, 5, 4)), (4, 4, 4))
        >>> padded.shape, padded[inside].shape
        ((4, 5, 4), (2, 5, 4))
        ```
    """
    missing = [max(side - n, 0) for n, side in zip(array.shape, sides, strict=False)]
    before = [(gap + 1) // 2 for gap in missing]
    widths = [(b, gap - b) for b, gap in zip(before, missing, strict=True)]
    widths += [(0, 0)] * (array.ndim - 3)
    inside = tuple(slice(b, b + n) for b, n in zip(before, array.shape, strict=False))
    return np.pad(array, widths, constant_values=array.min()), inside
