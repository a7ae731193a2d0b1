"""The linear map that brings one list of points nearest to another."""

import numpy as np

from anyvox_keras.errors import one_of
from anyvox_keras.types import AffineModel

# fewer points than this tell no stretch that can be trusted
_STRETCHED = 8
# of the widest extent: points flatter than this tell nothing of what lies across
_FLAT = 0.1


def spanned(points: np.ndarray) -> int:
    """In how many directions points extend, 0 to 3: one point in none, points of a line in one.

    Args:
        points: `(N, 3)`.
    """
    extents = np.linalg.svd(points - points.mean(0), compute_uv=False)
    return int((extents > max(_FLAT * float(extents[0]), 1e-9)).sum())


def fit_points(fixed: np.ndarray, moving: np.ndarray, model: AffineModel = "affine") -> np.ndarray:
    """Find the map with the least squared distance between points and their partners.

    An affine map is fitted to eight points or more that extend in three directions, a rigid one to
    fewer, or flat ones; to points of a line, or fewer than three, a translation.

    Args:
        fixed: `(N, 3)`, mm.
        moving: The same points of the moving image.
        model: The most that is fitted: "translation", "rigid" or "affine".

    Returns:
        `(4, 4)` float64: fixed to moving.

    Raises:
        ValueError: If the model is unknown.

    Reference:
        Kabsch, A solution for the best rotation to relate two sets of vectors, Acta Cryst. 1976.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import fit_points

        points = np.random.rand(10, 3)
        matrix = fit_points(points, points + 1.0)
        ```
    """
    one_of("model", model, AffineModel)
    here, there = fixed.mean(0), moving.mean(0)
    extent = min(spanned(fixed), spanned(moving))
    linear = np.eye(3)
    if model == "affine" and extent == 3 and len(fixed) >= _STRETCHED:
        linear = np.linalg.lstsq(fixed - here, moving - there, rcond=None)[0].T
    elif model != "translation" and extent >= 2:
        left, _, right = np.linalg.svd((moving - there).T @ (fixed - here))
        # a rotation, never a mirror image
        linear = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, there - linear @ here
    return matrix
