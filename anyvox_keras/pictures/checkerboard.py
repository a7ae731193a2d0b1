"""Checkerboards of two images."""

import numpy as np


def checkerboard(a: np.ndarray, b: np.ndarray, tiles: int = 7) -> np.ndarray:
    """Alternate blocks of `a` and `b`: where they are aligned, edges continue across the blocks.

    Args:
        a: `(D, H, W)`, in [0, 1] as `window` gives it.
        b: an array of the same shape.
        tiles: blocks along the longest axis.

    Raises:
        ValueError: the shapes differ.

    Example:
        ```python
        >>> checkerboard(np.zeros((4, 4, 4)), np.ones((4, 4, 4)), tiles=2)[0, 0].tolist()
        [0.0, 0.0, 1.0, 1.0]
        ```
    """
    if a.shape != b.shape:
        raise ValueError(f"`a` and `b` must have the same shape. Received: {a.shape} and {b.shape}")
    block = max(1, -(-max(a.shape) // tiles))
    i, j, k = np.ogrid[tuple(slice(n) for n in a.shape)]
    odd = (i // block + j // block + k // block) % 2
    return np.where(odd, b, a)
