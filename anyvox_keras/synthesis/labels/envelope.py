"""The rim around a mask."""

import numpy as np
from keras import ops

from anyvox_keras.backend import Array

#: Largest radius of a rim.
REACH = 4
#: Stands for "none within reach"; this plus two squares still fits into an int8.
_FAR = 3 * REACH**2 + 1


def envelope(mask: Array, radius: Array) -> Array:
    """Dilation minus erosion of a mask by the ball `x^2 + y^2 + z^2 <= radius^2`.

    A voxel is in the rim if a voxel of the other kind lies within the radius; voxels outside the
    grid count as neither, so that no rim is painted on the grid's faces. Squared distances are
    exact, found axis by axis as the minimum over offsets of the value there plus the offset
    squared; one pass serves every radius up to 4.

    Args:
        mask: `(B, D, H, W)` bool.
        radius: `(B,)` int32 in [1, 4].

    Returns:
        `(B, D, H, W)` bool.

    Example:
        ```python
        import numpy as np

        mask = np.zeros((1, 16, 16, 16), bool)
        mask[:, 5:11, 5:11, 5:11] = True
        rim = envelope(mask, np.array([2], "int32"))
        ```
    """
    mask = ops.convert_to_tensor(mask)
    to_inside, to_outside = _square_distance(mask), _square_distance(ops.logical_not(mask))
    other = ops.where(mask, to_outside, to_inside)
    square = ops.cast(radius * radius, "int8")
    return other <= ops.reshape(square, (-1, 1, 1, 1))


def _square_distance(mask: Array) -> Array:
    """Squared distance to the nearest voxel of the mask within REACH per axis; `_FAR` is none."""
    distance = ops.where(mask, np.asarray(0, "int8"), np.asarray(_FAR, "int8"))
    for axis in (1, 2, 3):
        widths = [(REACH, REACH) if a == axis else (0, 0) for a in range(4)]
        padded = ops.pad(distance, widths, constant_values=_FAR)
        size = mask.shape[axis]
        for offset in range(1, REACH + 1):
            low, high = (_window(padded, axis, REACH + sign * offset, size) for sign in (-1, 1))
            nearer = ops.minimum(low, high) + offset**2
            distance = ops.minimum(distance, nearer)
    return distance


def _window(x: Array, axis: int, start: int, size: int) -> Array:
    return x[(slice(None),) * axis + (slice(start, start + size),)]
