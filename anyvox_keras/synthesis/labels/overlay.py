"""Packed templates laid over each other in integers that wrap around."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from anyvox_keras.backend import is_eager_on_cpu, to_numpy
from anyvox_keras.types import Array

_TURN = 2.0**32
_CORNER = -(2**31)
_DROPPED, _KEPT = 11, 21
#: Voxels painted at a time: their coordinates stay in the cache.
SLAB = 2**18


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


class Shapes(NamedTuple):
    """What `overlay` paints.

    Attributes:
        words: `(W,)` int32, all samples' words one after the other.
        offsets: `(B, K)` int32, in words.
        sizes: `(B, K, 3)` int32.
    """

    words: Array
    offsets: Array
    sizes: Array


def overlay(shapes: Shapes, maps: PeriodicMap, count: Array, side: int, dtype: str) -> Array:
    """Paint template k with label k, later ones over earlier ones.

    Args:
        shapes: K templates per sample.
        maps: Where they lie, `(B, K, ...)`.
        count: `(B,)` int32: how many of the K templates are painted.
        side: Side of the grid.
        dtype: Integer dtype of the result.

    Returns:
        `(B, side, side, side)` label map.
    """
    if is_eager_on_cpu(count):
        return overlay_sparse(shapes, maps, count, side, dtype)

    def paint(k: Any, labels: Array) -> Array:
        one = PeriodicMap(*(field[:, k] for field in maps))
        painted = _hits(shapes.words, shapes.offsets[:, k], shapes.sizes[:, k], one, side)
        painted = ops.logical_and(painted, _spread(count > k))
        return ops.where(painted, ops.cast(k, dtype), labels)

    # A traced torch program has a fixed number of rounds; the others stop after the last template.
    rounds = shapes.offsets.shape[1] if keras.config.backend() == "torch" else ops.max(count)
    labels = ops.zeros((ops.shape(count)[0], side, side, side), dtype)
    return ops.fori_loop(0, rounds, paint, labels)


def _hits(words: Array, offset: Array, size: Array, one: PeriodicMap, side: int) -> Array:
    """Look up one template per sample at every voxel."""
    coordinates = _coordinates(one, side)
    inside = _inside(coordinates, one.last)
    cells = [to_voxel(x, _spread(one.period[:, axis])) for axis, x in enumerate(coordinates)]
    linear = _linear(cells, [_spread(size[:, axis]) for axis in range(3)])
    linear = ops.where(inside, linear, int32(0))
    return ops.logical_and(inside, _bit(words, _spread(offset), linear))


def _inside(coordinates: list[Array], last: Array) -> Array:
    first, second, third = (x <= _spread(last[:, axis]) for axis, x in enumerate(coordinates))
    return ops.logical_and(ops.logical_and(first, second), third)


def _coordinates(one: PeriodicMap, side: int) -> list[Array]:
    """Coordinates of all voxels along each axis: a broadcast sum of three vectors."""
    lines = ops.arange(side, dtype="int32")
    planes = lines[:, None]
    found = []
    for axis in range(3):
        step, shift = one.step[:, axis, :, None, None], one.shift[:, axis, None, None]
        plane = step[:, 0] * planes + (step[:, 1] * lines + shift)
        found.append(plane[..., None] + (step[:, 2] * lines)[:, None])
    return found


def _linear(cells: list[Array], size: list[Array]) -> Array:
    return (cells[0] * size[1] + cells[1]) * size[2] + cells[2]


def _bit(words: Array, offset: Array, linear: Array) -> Array:
    """Read bit `linear & 31` of word `offset + linear // 32`."""
    word = ops.take(words, offset + ops.right_shift(linear, int32(5)))
    return ops.bitwise_and(ops.right_shift(word, ops.bitwise_and(linear, int32(31))), int32(1)) > 0


def _spread(x: Array) -> Array:
    return ops.reshape(x, (-1, 1, 1, 1))


def overlay_sparse(shapes: Shapes, maps: PeriodicMap, count: Array, side: int, dtype: str) -> Array:
    """Do what `overlay` does, looking only at the voxels in a template's bounding box.

    For eager torch on a CPU: sizes depend on values, and slabs are written in place.
    """
    volumes = []
    planes = max(1, SLAB // side**2)
    for sample, templates in enumerate(to_numpy(count).tolist()):
        one = PeriodicMap(*(field[sample, :templates] for field in maps))
        places, sizes = shapes.offsets[sample, :templates], shapes.sizes[sample, :templates]
        numbers = [to_numpy(x).tolist() for x in (places, sizes, one.last, one.period)]
        boxes = list(zip(*numbers, strict=True))
        bases, lines = _coordinate_parts(one, side)
        labels = ops.zeros((side, side, side), dtype)
        for start in range(0, side, planes):
            slab = labels[start : start + planes].view(-1)
            for k, box in enumerate(boxes):
                base = bases[k, :, start : start + planes, :, None]
                slab[_covered(shapes.words, base + lines[k], *box)] = k
        volumes.append(labels)
    return ops.stack(volumes)


def _coordinate_parts(maps: PeriodicMap, side: int) -> tuple[Array, Array]:
    """Split coordinates into what planes and rows give, `(K, 3, S, S)`, and columns."""
    index = ops.arange(side, dtype="int32")
    step, shift = maps.step[..., None], maps.shift[..., None]
    rows = step[:, :, 1] * index + shift
    bases = (step[:, :, 0] * index)[..., None] + rows[:, :, None]
    return bases, (step[:, :, 2] * index)[:, :, None, None]


def _covered(
    words: Array,
    coordinates: Array,
    offset: int,
    size: list[int],
    last: list[int],
    period: list[int],
) -> Array:
    """Flat indices of the voxels that one template covers."""
    first, second, third = ops.reshape(coordinates, (3, -1))
    (box,) = ops.nonzero((first <= last[0]) & (second <= last[1]) & (third <= last[2]))
    i, j, k = (to_voxel(x[box], n) for x, n in zip((first, second, third), period, strict=True))
    linear = (i * size[1] + j) * size[2] + k
    word = words[offset + ops.right_shift(linear, int32(5))]
    return box[ops.right_shift(word, linear & 31) & 1 > 0]
