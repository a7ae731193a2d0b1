"""Jacobian determinants of a displacement field."""

import numpy as np

from anyvox_keras import backend
from anyvox_keras.ops import jacobian_determinant


def folds_percent(displacement: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Percentage of voxels where the map folds: Jacobian determinant <= 0.

    Args:
        displacement: `(D, H, W, 3)` in voxels.
        mask: `(D, H, W)`; only voxels above zero are counted.

    Raises:
        ValueError: not `(D, H, W, 3)`, or a mask of another shape or without voxels.

    Example:
        ```python
        >>> folds_percent(np.zeros((4, 4, 4, 3), "float32"))
        0.0
        ```
    """
    return float(100.0 * (jacobian(displacement, mask) <= 0).mean())


def sd_log_jacobian(displacement: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Standard deviation of the logarithm of the Jacobian determinant.

    0 for a rigid map. Determinants are clipped to `[1e-9, 1e9]`, as Learn2Reg does, so that a
    folded voxel counts as a strong compression.

    Args and errors as in `folds_percent`.
    """
    return float(np.log(np.clip(jacobian(displacement, mask), 1e-9, 1e9)).std())


def jacobian(displacement: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Jacobian determinants of `x + u(x)` on the host, `(D, H, W)`, or the `(N,)` in a mask."""
    field = np.asarray(displacement, "float32")
    if field.ndim != 4 or field.shape[-1] != 3:
        raise ValueError(f"`displacement` must be (D, H, W, 3). Received: {field.shape}")
    with backend.no_gradient():
        values = np.asarray(backend.to_numpy(jacobian_determinant(field[None])))[0]
    if mask is None:
        return values
    inside = np.asarray(mask) > 0
    if inside.shape != values.shape or not inside.any():
        raise ValueError(
            f"`mask` must be {values.shape} with voxels above 0. Received: {inside.shape}"
        )
    return np.asarray(values[inside])
