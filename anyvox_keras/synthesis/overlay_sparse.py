"""Painting templates where every operation is a pass over memory."""

from keras import ops

from anyvox_keras.ops._backend import Array
from anyvox_keras.synthesis.fixed_point import PeriodicMap, to_voxel
from anyvox_keras.synthesis.shapes import Shapes

#: Voxels painted at a time: their coordinates stay in the cache.
SLAB = 2**18


def overlay_sparse(shapes: Shapes, maps: PeriodicMap, count: Array, side: int, dtype: str) -> Array:
    """Do what `overlay` does, looking only at the voxels in a template's bounding box.

    For eager torch on a CPU: sizes depend on values, and slabs are written in place.
    """
    volumes = []
    planes = max(1, SLAB // side**2)
    for sample, templates in enumerate(count.tolist()):
        one = PeriodicMap(*(field[sample, :templates] for field in maps))
        boxes = list(
            zip(
                shapes.offsets[sample, :templates].tolist(),
                shapes.sizes[sample, :templates].tolist(),
                one.last.tolist(),
                one.period.tolist(),
                strict=True,
            )
        )
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
    first, second, third = coordinates.reshape(3, -1)
    (box,) = ops.nonzero((first <= last[0]) & (second <= last[1]) & (third <= last[2]))
    i, j, k = (to_voxel(x[box], n) for x, n in zip((first, second, third), period, strict=True))
    linear = (i * size[1] + j) * size[2] + k
    return box[(words[offset + (linear >> 5)] >> (linear & 31)) & 1 > 0]
