"""Where an affine registration begins."""

import itertools
from collections.abc import Sequence

import numpy as np

from anyvox_keras.geometry import Volume

ANGLES = (-30.0, -15.0, 15.0, 30.0)


def affine_starts(
    fixed: Volume,
    moving: Volume,
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    angles: Sequence[float] = ANGLES,
) -> list[np.ndarray]:
    """List rigid maps that bring the two images over each other.

    The headers as they are; the middles of the two fields of view, and the two centres of mass
    (of the masks, if given), laid on each other; and each of the latter two turned about the fixed
    centre by every angle about every axis of the world.

    Args:
        fixed: The image that stays.
        moving: The image that is brought onto it.
        fixed_mask: `(D, H, W)`, where the fixed image counts.
        moving_mask: The same of the moving image.
        angles: Degrees.

    Returns:
        `(4, 4)` matrices, mm, RAS: fixed world to moving world.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.geometry import Volume
        from anyvox_keras.registration import affine_starts

        image = Volume(np.random.rand(8, 8, 8).astype("float32"), np.eye(4))
        starts = affine_starts(image, image)
        ```
    """
    pairs = [
        (fixed.grid.centre, moving.grid.centre),
        (_mass(fixed, fixed_mask), _mass(moving, moving_mask)),
    ]
    turns = [np.eye(3), *(_turn(axis, a) for axis, a in itertools.product(range(3), angles))]
    starts = [np.eye(4)]
    for (here, there), turn in itertools.product(pairs, turns):
        matrix = np.eye(4)
        matrix[:3, :3] = turn
        matrix[:3, 3] = there - turn @ here
        starts.append(matrix)
    return starts


def _mass(volume: Volume, mask: np.ndarray | None) -> np.ndarray:
    """Centre of mass in the world; intensities count from their first percentile up."""
    if mask is None:
        weights = np.clip(volume.array - np.percentile(volume.array, 1), 0, None)
        # One bright spot is not the body: the upper tenth counts as its lower bound.
        weights = np.minimum(weights, np.percentile(weights, 90) + 1e-6)
    else:
        weights = (mask > 0).astype("float64")
    total = float(weights.sum())
    parts = [
        float((weights.sum(tuple(a for a in range(3) if a != axis)) * np.arange(n)).sum()) / total
        for axis, n in enumerate(volume.shape)
    ]
    return volume.grid.to_world(np.array(parts))


def _turn(axis: int, degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = cosine
    matrix[i, j], matrix[j, i] = -sine, sine
    return matrix
