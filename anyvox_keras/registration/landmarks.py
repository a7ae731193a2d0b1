"""Corresponding points of two images."""

import os
from typing import Any

import numpy as np

from anyvox_keras._errors import UserError
from anyvox_keras.io import TO_LPS, load_points


def landmarks_of(fixed: Any, moving: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Read the same landmarks of both images.

    Args:
        fixed: `(N, 3)` points of the fixed image, mm, RAS; a CSV file of `x,y,z`, mm, LPS as ITK
            has them; or none.
        moving: The same of the moving image, in the same order.

    Returns:
        Two `(N, 3)` float64 arrays, mm, RAS; or none without landmarks.

    Raises:
        UserError: If one image's are lacking, or the two differ in number.
    """
    if fixed is None and moving is None:
        return None
    if fixed is None or moving is None:
        raise UserError("landmarks: expected points of both images, received one image's only")
    points = [
        load_points(one) * TO_LPS if isinstance(one, str | os.PathLike) else np.asarray(one, float)
        for one in (fixed, moving)
    ]
    shapes = [array.shape for array in points]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][1] != 3 or not shapes[0][0]:
        raise UserError(
            "landmarks: expected the same (N, 3) points of both images, "
            f"received {shapes[0]} and {shapes[1]}"
        )
    return points[0], points[1]
