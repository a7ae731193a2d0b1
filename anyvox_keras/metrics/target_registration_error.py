"""Distance between landmarks."""

import numpy as np


def target_registration_error(points_a: np.ndarray, points_b: np.ndarray) -> float:
    """Mean Euclidean distance of corresponding points (TRE), mm.

    Args:
        points_a: `(N, 3)`, mm.
        points_b: `(N, 3)`, mm, in the same order and the same convention (RAS or LPS).

    Raises:
        ValueError: not `(N, 3)`, or no point.

    Example:
        ```python
        >>> target_registration_error(np.zeros((2, 3)), np.array([[3.0, 4, 0], [0, 0, 1]]))
        3.0
        ```
    """
    a, b = np.asarray(points_a, "float64"), np.asarray(points_b, "float64")
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 3 or not a.size:
        raise ValueError(f"points must be two (N, 3) arrays. Received: {a.shape} and {b.shape}")
    return float(np.linalg.norm(a - b, axis=1).mean())
