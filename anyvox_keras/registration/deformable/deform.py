"""Deformable registration of two feature volumes on one grid."""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from math import prod

from keras import ops

from anyvox_keras.backend import compiled, no_gradient
from anyvox_keras.ops import (
    average_pool,
    compose,
    invert_displacement,
    resize,
    resize_displacement,
    warp,
)
from anyvox_keras.progress import tell
from anyvox_keras.registration.deformable.cost_volume import cost_volume
from anyvox_keras.registration.deformable.coupled_convex import (
    coupled_convex,
    coupled_convex_by_slabs,
    inverse_consistency,
)
from anyvox_keras.registration.deformable.instance_optimisation import instance_optimisation
from anyvox_keras.registration.deformable.settings import AdamSettings, DeformSettings, Level
from anyvox_keras.registration.deformable.terms import Terms
from anyvox_keras.types import Array, Function

#: the features come pooled by this
POOL = 2
# arrays as large as a cost volume that live at once while it is searched
_COPIES = 6


def deform(
    fixed: Array, moving: Array, shape: Sequence[int], spacing: Sequence[float],
    settings: DeformSettings | None = None, memory: float | None = None,
    weights: tuple[Array, Array] | None = None, fine: int = 0,
    images: tuple[Array, Array] | None = None, terms: Terms | None = None, channels: int = 1,
    start: Array | None = None,
) -> Array:  # fmt: skip
    """Find the displacement that brings the moving features onto the fixed ones.

    Coarse to fine, each level searches a window exhaustively in both directions, smooths by
    coupled convex optimisation and makes the two directions consistent; gradient descent at half
    resolution ends it, in both directions where the settings say so: then the forward field and
    the inverse of the backward one are averaged. Moving features of a later level are warped by
    what was found before.

    Args:
        fixed: `(1, d, h, w, C)` float32 features of the fixed image, pooled by two.
        moving: The same shape.
        shape: `(D, H, W)` of the images before pooling.
        spacing: Millimetres between voxels before pooling.
        settings: See `DeformSettings`; the default is the preset "default".
        memory: GB (2^30 bytes) that a search may take. A cost volume that needs more is computed
            in slabs, anew for each step: the same result, later.
        weights: `(1, d, h, w, 1)` in `[0, 1]`, how much of each voxel of the two is known; by
            default all. What is unknown neither pulls nor repels, and follows its surroundings.
        fine: How many of the last channels only the descent compares.
        images: `(1, d, h, w, n)`, both images pooled by two, zero where dark, of variance one, for
            `AdamSettings.correlation`; without them features alone are compared.
        terms: Labels, which search and descent see, and landmarks, which the descent sees.
        channels: Of how many channels of an image the features are; their mean counts.
        start: `(1, D, H, W, 3)`, where the descent begins, in the place of a search.

    Returns:
        `(1, D, H, W, 3)` float32 displacement in voxels of the images.

    Reference:
        Siebert et al., ConvexAdam, IEEE TMI 2024.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import deform

        x = np.random.rand(1, 8, 8, 8, 12).astype("float32")
        displacement = deform(x, x, (16, 16, 16), (2.0, 2.0, 2.0))
        ```
    """
    settings = settings or DeformSettings()
    shape = tuple(int(n) for n in shape)
    fixed, moving = ops.convert_to_tensor(fixed), ops.convert_to_tensor(moving)
    if weights is not None:
        weights = ops.convert_to_tensor(weights[0]), ops.convert_to_tensor(weights[1])
    displacement = None if start is None else ops.convert_to_tensor(start, "float32")
    with no_gradient():
        sides = _searched(fixed, moving, fixed.shape[-1] - fine, channels, terms)
        found = settings.levels_for(shape, spacing) if start is None else ()
        levels = _usable(found, shape)
        costs = [_cost(level, shape) for level in levels]
        for number, level in enumerate(levels):
            done = sum(costs[:number]) / sum(costs)
            tell("search", f"level {number + 1} of {len(levels)}", done)
            planes = _planes(level, shape, memory)
            search = _search(level, shape, settings.consistency, settings.adam.stretch, planes)
            displacement = search(*sides, displacement, weights)
        tell("descent", f"{settings.adam.iterations} steps")
        descent = _descent(shape, settings.adam, settings.both_ways)
        return descent(fixed, moving, displacement, weights, images, terms)


def _searched(
    fixed: Array, moving: Array, count: int, channels: int, terms: Terms | None
) -> tuple[Array, Array]:
    """Return what the search compares: the first features, averaged over channels, and labels."""
    sides = fixed[..., :count], moving[..., :count]
    if channels > 1:
        # squared distances are summed over features
        sides = sides[0] * channels**-0.5, sides[1] * channels**-0.5
    if terms is None or terms.labels is None:
        return sides
    both = zip(sides, terms.labels, strict=True)
    fixed, moving = (ops.concatenate(side, axis=-1) for side in both)
    return fixed, moving


def _usable(levels: Sequence[Level], shape: tuple[int, ...]) -> list[Level]:
    """Shrink the blocks of a small image: a level needs at least two of them an axis."""
    largest = max(POOL, min(shape) // 2 // POOL * POOL)
    return [
        level
        if level.grid <= largest
        else Level(largest, -(-level.grid * level.half_width // largest))
        for level in levels
    ]


def _cost(level: Level, shape: tuple[int, ...]) -> int:
    """Comparisons that a level makes."""
    return prod(n // level.grid for n in shape) * (2 * level.half_width + 1) ** 3


def _planes(level: Level, shape: tuple[int, ...], memory: float | None) -> int | None:
    """How many planes of the level's cost volume to hold at once; none says all of them."""
    if memory is None or math.isinf(memory):
        return None
    depth, height, width = (n // level.grid for n in shape)
    window = (2 * level.half_width + 1) ** 3
    planes = int(memory * 2**30 / (4 * _COPIES * height * width * window))
    # a slab is computed with the planes around it that its means reach
    return None if planes >= depth else max(1, planes - 4)


# Compiled functions are kept: images of the same shape are not traced twice.
@cache
def _search(
    level: Level, shape: tuple[int, ...], consistency: int, stretch: bool, planes: int | None
) -> Callable[..., Array]:
    """Return the function of fixed, moving, the start and the weights that one level is."""
    before = partial(_pooled, level.grid)
    after = partial(_agreed, level.grid, shape, consistency, stretch)
    if planes is None:
        return compiled(partial(_find, before, partial(_match, level.half_width), after))
    match = partial(_match_by_slabs, level.half_width, planes)
    return partial(_find, compiled(before), match, compiled(after))


def _find(
    before: Function, match: Callable[..., Array], after: Callable[..., Array],
    fixed: Array, moving: Array, start: Array | None, weights: tuple[Array, Array] | None = None,
) -> Array:  # fmt: skip
    """Displacement on the full grid."""
    fixed, moving, weights = before(fixed, moving, start, weights)
    back = None if weights is None else weights[::-1]
    return after(match(fixed, moving, weights), match(moving, fixed, back), start)


def _pooled(
    grid: int, fixed: Array, moving: Array, start: Array | None,
    weights: tuple[Array, Array] | None,
) -> tuple[Array, Array, tuple[Array, Array] | None]:  # fmt: skip
    if start is not None:
        start = resize_displacement(start, moving.shape[1:4])
        moving = warp(moving, start)
        weights = weights if weights is None else (weights[0], 1.0 - warp(1.0 - weights[1], start))
    factor = grid // POOL
    if factor == 1:
        return fixed, moving, weights
    if weights is None:
        return average_pool(fixed, factor), average_pool(moving, factor), None
    (fixed, here), (moving, there) = (
        _pool_known(x, weight, factor) for x, weight in zip((fixed, moving), weights, strict=True)
    )
    return fixed, moving, (here, there)


def _pool_known(x: Array, weight: Array, factor: int) -> tuple[Array, Array]:
    share = average_pool(weight, factor)
    return average_pool(x * weight, factor) / (share + 1e-6), share


def _match(
    half_width: int, fixed: Array, moving: Array, weights: tuple[Array, Array] | None
) -> Array:
    cost = cost_volume(fixed, moving, half_width, weights=weights)
    return coupled_convex(cost, weight=None if weights is None else weights[0])


def _match_by_slabs(
    half_width: int, planes: int, fixed: Array, moving: Array,
    weights: tuple[Array, Array] | None,
) -> Array:  # fmt: skip
    return coupled_convex_by_slabs(fixed, moving, half_width, planes, weights=weights)


def _agreed(
    grid: int, shape: tuple[int, ...], consistency: int, stretch: bool,
    forward: Array, backward: Array, start: Array | None,
) -> Array:  # fmt: skip
    forward, _ = inverse_consistency(forward, backward, consistency, stretch)
    step = resize(forward * float(grid), shape)
    return step if start is None else compose(start, step)


@cache
def _descent(shape: tuple[int, ...], adam: AdamSettings, both_ways: bool) -> Callable[..., Array]:
    return compiled(partial(_descend, shape, adam, both_ways))


def _descend(
    shape: tuple[int, ...], adam: AdamSettings, both_ways: bool,
    fixed: Array, moving: Array, start: Array, weights: tuple[Array, Array] | None,
    images: tuple[Array, Array] | None, terms: Terms | None,
) -> Array:  # fmt: skip
    start = resize(start, fixed.shape[1:4]) / float(POOL)
    found = instance_optimisation(fixed, moving, start, adam, weights, images, terms)
    if both_ways:
        weights, images = (None if pair is None else pair[::-1] for pair in (weights, images))
        terms = None if terms is None else terms.swapped()
        back = instance_optimisation(
            moving, fixed, invert_displacement(start), adam, weights, images, terms
        )
        found = 0.5 * (found + invert_displacement(back))
    return resize(found * float(POOL), shape)
