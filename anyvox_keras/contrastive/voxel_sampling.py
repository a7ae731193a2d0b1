"""Which voxels a loss sees, their labels, and how their features align."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from keras import ops

from anyvox_keras.random import choice, fold_in
from anyvox_keras.types import Array

# Uniform draws per kept position when labels are balanced: rare labels are found among more.
CANDIDATES = 16


class Drawn(NamedTuple):
    """Voxels of both views, `(2B, k, ...)`: all first views, then all second."""

    rows: Any
    labels: Any
    # Equal numbers in both views mean the same voxel of the map.
    voxels: Any


def draw_voxels(
    features: Array, stream: str, *, label_maps: Array, shift: Array, keys: Array, count: int,
    balanced: bool,
) -> Drawn:  # fmt: skip
    """Draw voxels of the first views, and the same ones of the second.

    Args:
        features: `(2B, d, h, w, C)` of both views; the grid may be coarser than the maps'.
        stream: Name of the tap, so that taps draw independently.
        label_maps: `(2B, D, H, W)` integers.
        shift: `(B, 3)` int32, where the first view was cut less where the second was, in voxels of
            the maps. A voxel that the second view lacks is drawn at the place round its end.
        keys: `(B, 2)` int32.
        count: Most voxels a view.
        balanced: Whether labels take turns among them.
    """
    grid, sides = tuple(features.shape[1:4]), tuple(label_maps.shape[1:4])
    label_map = ops.split(label_maps, 2, axis=0)[0]
    first = sample_positions(keys, grid, count * (CANDIDATES if balanced else 1), stream)
    if balanced:
        first = balance_positions(first, labels_at(label_map, grid, first), count)
    # Multiplied first: a strided convolution leaves 9 of 17 voxels, a stride of no whole number.
    fine, coarse = (ops.convert_to_tensor(list(n), "int32") for n in (sides, grid))
    second, inside = shift_positions(first, ops.floor_divide(shift * coarse, fine), grid)
    positions = ops.concatenate([first, second], axis=0)
    number = ops.broadcast_to(ops.arange(first.shape[1], dtype="int32"), ops.shape(first))
    partner = ops.where(inside, number, number + first.shape[1])
    return Drawn(
        rows_at(features, positions),
        labels_at(label_maps, grid, positions),
        ops.concatenate([number, partner], axis=0),
    )


def sample_positions(keys: Array, grid: Sequence[int], count: int, stream: str) -> Array:
    """Draw `min(count, voxels)` flat positions per key, without replacement, `(B, k)` int32.

    Args:
        keys: `(B, 2)` int32.
        grid: Sides of the grid, `(d, h, w)`.
        count: Most positions.
        stream: Name of the tap, so that taps draw independently.
    """
    voxels = math.prod(grid)
    return choice(fold_in(fold_in(keys, "voxels"), stream), voxels, min(count, voxels))


def balance_positions(positions: Array, labels: Array, count: int) -> Array:
    """Keep `count` of the drawn positions, labels taking turns, `(B, count)` int32.

    Every label gives its first position, then every label its second, and so on, until `count`
    are found: a label of few voxels gives all it has. All is integers, so backends agree.

    Args:
        positions: `(B, n)` int32, in random order.
        labels: `(B, n)` integers, of the same voxels.
        count: Positions to keep, at most n.
    """
    drawn = positions.shape[1]
    order = ops.arange(drawn, dtype="int32")[None]
    by_label = ops.argsort(ops.cast(labels, "int32") * drawn + order, axis=1)
    label = ops.take_along_axis(labels, by_label, axis=1)
    begins = ops.concatenate(
        [ops.ones_like(label[:, :1], dtype="bool"), label[:, 1:] != label[:, :-1]], axis=1
    )
    start = _running_max(ops.where(begins, order, 0))
    turn = order - start
    kept = ops.argsort(turn * drawn + ops.cast(by_label, "int32"), axis=1)[:, :count]
    return ops.take_along_axis(ops.take_along_axis(positions, by_label, axis=1), kept, axis=1)


def _running_max(x: Array) -> Array:
    """Largest so far along the last axis, by doubling strides."""
    reach = 1
    while reach < x.shape[1]:
        earlier = ops.pad(x[:, :-reach], ((0, 0), (reach, 0)))
        x, reach = ops.maximum(x, earlier), 2 * reach
    return x


def shift_positions(positions: Array, shift: Array, grid: Sequence[int]) -> tuple[Array, Array]:
    """Move flat positions `(B, k)` by `shift` (B, 3) voxels, round the grid's ends.

    Returns:
        Positions `(B, k)` int32, still without repetition, and whether each one stayed on the grid
        without going round, `(B, k)` bool.
    """
    stride, rest = math.prod(grid), positions
    moved, inside = ops.zeros_like(positions), ops.ones_like(positions, dtype="bool")
    for axis, side in enumerate(grid):
        stride //= side
        place = rest // stride + shift[:, axis, None]
        rest = rest % stride
        moved = moved + (place % side) * stride
        inside = ops.logical_and(inside, ops.logical_and(place >= 0, place < side))
    return moved, inside


def rows_at(features: Array, positions: Array) -> Array:
    """Gather `(B, k, C)` rows of `(B, d, h, w, C)` features at flat positions `(B, k)`."""
    batch, *grid, channels = ops.shape(features)
    voxels = math.prod(grid)
    offset = ops.arange(batch, dtype="int32")[:, None] * voxels
    flat = ops.reshape(features, (-1, channels))
    return ops.take(flat, positions + offset, axis=0)


def labels_at(label_map: Array, grid: Sequence[int], positions: Array) -> Array:
    """Read `(B, k)` labels of `(B, D, H, W)` maps at flat positions of a coarser grid.

    Voxel `i` of `m` reads voxel `floor(i n / m)` of `n`: nearest resizing by the floor rule.
    """
    sides = tuple(label_map.shape[1:4])
    index = ops.zeros_like(positions)
    rest = positions
    stride = math.prod(sides)
    voxels = math.prod(grid)
    for coarse, fine in zip(grid, sides, strict=True):
        voxels, stride = voxels // coarse, stride // fine
        index = index + ((rest // voxels) * fine // coarse) * stride
        rest = rest % voxels
    flat = ops.reshape(label_map, (-1, math.prod(sides)))
    return ops.take_along_axis(flat, index, axis=1)


def alignment(
    first: Array, second: Array, labels: Array, second_labels: Array | None = None
) -> Array:
    """Mean cosine of same-label rows across two views, minus that of different labels.

    0 for features that know nothing of the label, at most 2. A pair of views with but one label
    counts as 0.

    Args:
        first: `(B, k, C)` features at k voxels of one view.
        second: `(B, k, C)` features of the other view.
        labels: `(B, k)` integers, of the first view's voxels.
        second_labels: `(B, k)` integers, of the second view's where it shows others; None where
            both views were read at the same voxels.

    Returns:
        `(B,)` float32.

    Example:
        ```python
        alignment(np.eye(4)[None], np.eye(4)[None], np.arange(4)[None])  # [1.]
        ```
    """
    cosine = ops.matmul(_unit(first), ops.transpose(_unit(second), (0, 2, 1)))
    second_labels = labels if second_labels is None else second_labels
    same = ops.cast(labels[:, :, None] == second_labels[:, None, :], "float32")
    other = 1.0 - same
    counts = ops.sum(other, axis=(1, 2))
    gap = _mean(cosine, same) - _mean(cosine, other)
    return ops.where(counts > 0, gap, ops.zeros_like(gap))


def _unit(x: Array) -> Array:
    x = ops.cast(x, "float32")
    return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)


def _mean(x: Array, mask: Array) -> Array:
    return ops.sum(x * mask, axis=(1, 2)) / ops.maximum(ops.sum(mask, axis=(1, 2)), 1.0)
