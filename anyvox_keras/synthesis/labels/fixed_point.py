"""Periodic coordinates as integers that wrap around."""

from typing import NamedTuple

import numpy as np
from keras import ops

from anyvox_keras.types import Array

_TURN = 2.0**32
_CORNER = -(2**31)
_DROPPED, _KEPT = 11, 21


class PeriodicMap(NamedTuple):
    """An affine map from output voxels into templates, as integers.

    A coordinate divided by its period is an angle: int32 arithmetic, which wraps alike on every
    backend, is then the periodic boundary itself, and no voxel is ever divided. Sums of step
    multiples are exact, so that the voxels which a map picks do not differ between backends or
    batches. One unit is 2^-32 of the period; voxels are told apart to 2^-21 of it.

    Attributes:
        step: `(..., 3, 3)` int32: change of coordinate `a` per output voxel along axis `b`.
        shift: `(..., 3)` int32: coordinate of output voxel 0, where -2^31 is the corner of the
            template's bounding box.
        last: `(..., 3)` int32: the largest coordinate inside the bounding box.
        period: `(..., 3)` int32.
    """

    step: Array
    shift: Array
    last: Array
    period: Array


def periodic_map(matrix: Array, translation: Array, sizes: Array, side: int) -> PeriodicMap:
    """Turn `voxel = floor(M o + t + 1/2) mod P` less the padding in front into integers.

    Args:
        matrix: `(..., 3, 3)` float32, output to input, about the array's origin.
        translation: `(..., 3)` float32 voxels.
        sizes: `(..., 3)` int32: bounding boxes; `P = max(side, size)`, padded in front by
            `(P - size + 1) // 2`.
        side: Side of the output grid.

    Returns:
        The map in integers.
    """
    period = ops.maximum(sizes, int32(side))
    front = ops.right_shift(period - sizes + 1, int32(1))
    length = ops.cast(period, "float32")
    start = (translation + (0.5 - ops.cast(front, "float32"))) / length
    # h < ceil(size 2^21 / P)  <=>  floor(h P / 2^21) < size
    end = ops.floor_divide(ops.left_shift(sizes, int32(_KEPT)) + (period - 1), period)
    last = ops.left_shift(end - 2 ** (_KEPT - 1), int32(_DROPPED)) - 1
    shift = _turns(start) + _CORNER
    return PeriodicMap(_turns(matrix / length[..., None]), shift, last, period)


def to_voxel(coordinate: Array, period: Array | int) -> Array:
    """Turn coordinates into voxels counted from the corner of the bounding box."""
    unsigned = ops.right_shift(coordinate, int32(_DROPPED)) + 2 ** (_KEPT - 1)
    return ops.right_shift(unsigned * period, int32(_KEPT))


def int32(value: int) -> np.ndarray:
    """Make a constant that does not widen the dtype of what it is combined with."""
    return np.asarray(value, "int32")


def _turns(x: Array) -> Array:
    """Drop whole periods and express the rest in units of 2^-32."""
    fraction = x - ops.floor(x + 0.5)
    # 2^31 itself is no int32; the float32 below it is 2^31 - 128.
    return ops.cast(ops.clip(fraction * _TURN, -(2.0**31), 2.0**31 - 128), "int32")
