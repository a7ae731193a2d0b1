"""The anatomical family of shapes, and its banks: drawn on all cores, kept on the disk."""

import itertools
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.progress import counted
from anyvox_keras.templates import painting
from anyvox_keras.templates.anatomical import shapes
from anyvox_keras.templates.bank_file import LARGEST, PackedMask, pack_box, read_bank

Generator = np.random.Generator

#: Share of shapes that are longer than the grid, and how much longer they may be.
LONGER, LONGEST = 0.25, 2.5
#: Smallest standard deviation of the surface warp, as a share of the extent.
LEAST_WARP = 0.015
#: Names of the members of a nested group, in the order in which they are painted.
MEMBERS = ("organ", "wall", "core")
#: Changes with what a seed gives, so that no cache of another law is taken for this one's.
LAW = 1
#: Side from which on threads are worth their while.
THREADED = 64
#: Shapes that a killed build may lose.
CHECKPOINT = 500


class Kind(NamedTuple):
    """How a kind is drawn.

    Attributes:
        share: Its part of all draws.
        draw: Draws the masks of one draw in a cube of `n` voxels, the first holding the others.
        median: Median of its extent, as a share of the side.
        least: Smallest extent in voxels in which its parts can be told apart.
        warp: Largest standard deviation of the surface warp, as a share of the extent.
    """

    share: float
    draw: Callable[[Generator, int], list[np.ndarray]]
    median: float = 0.55
    least: int = 12
    warp: float = 0.055


KINDS: dict[str, Kind] = {
    "geometric": Kind(0.35, shapes.geometric),
    "carved": Kind(0.14, shapes.carved),
    "nested": Kind(0.06, shapes.nested),
    "sheet": Kind(0.07, shapes.sheet, 0.7, 24, 0.03),
    "cortex": Kind(0.03, shapes.cortex, 0.7, 24, 0.03),
    "vessels": Kind(0.10, shapes.vessels, 0.8, 24, 0.025),
    "vertebrae": Kind(0.08, shapes.column, 0.8, 32, 0.02),
    "bowel": Kind(0.07, shapes.bowel, 0.7, 24),
    "ribs": Kind(0.05, shapes.rib_cage, 0.8, 32, 0.02),
    "pair": Kind(0.05, shapes.pair, 0.7, 16),
}


def draw_anatomical_shapes(rng: Generator, side: int) -> tuple[str, list[np.ndarray]]:
    """Draw one shape, or one group of nested shapes, of the anatomical family.

    | kind | share | stands in for | drawn |
    |---|---|---|---|
    | geometric | 0.35 | anything | a shape of `draw_geometric_shape` |
    | carved | 0.14 | organs among organs | a body less 1 to 3 neighbours; a third cut by a plane |
    | nested | 0.06 | heart, kidney, eye, tumour | a carved organ, its wall, its core |
    | sheet | 0.07 | skin, pleura, gut wall | an ellipsoid lowered by ridged noise, 2 to 6 voxels |
    | cortex | 0.03 | brain | such a sheet, the envelope around it, what it holds |
    | vessels | 0.10 | arteries, airways | six generations by Murray's law, tortuous |
    | vertebrae | 0.08 | spine | 4 to 10 bodies, rings, processes on a bent axis |
    | bowel | 0.07 | gut, ducts | a tube along a packed spline; a third hollow |
    | ribs | 0.05 | chest | 6 to 12 paired hoops on an ovoid |
    | pair | 0.05 | kidneys, lungs | a shape and its mirror image |

    The extent is log-normal about the kind's median, at most `side`, for three quarters of the
    draws; for a quarter it is log-uniform between 1 and 2.5 sides: those are drawn in `side`
    voxels and enlarged. A random field of three octaves warps every surface, by 1.5 to 5.5 %
    of the extent (standard deviation of the coarsest), less for thin kinds.

    Trigonometry, roots of matrices and normal draws are rounded before they meet a voxel, and
    what is done per voxel is float32 addition, multiplication, division and square root, which
    IEEE 754 fixes: the same seed gives the same shapes on any machine, but for a rare voxel that
    lies within rounding of a surface.

    Args:
        rng: Generator of the draws.
        side: Side of the volumes in voxels.

    Returns:
        `(kind, masks)`: bool masks in the box of the first, which holds the others. More than one
        are a group: the organ, its wall, its core, to be placed together.

    Example:
        ```python
        >>> kind, masks = draw_anatomical_shapes(np.random.Generator(np.random.Philox(0)), 32)
        >>> max(masks[0].shape) <= 80
        True
        ```
    """
    names = list(KINDS)
    name = names[int(rng.choice(len(names), p=[kind.share for kind in KINDS.values()]))]
    kind = KINDS[name]
    extent = _draw_extent(rng, kind, side)
    size = min(extent, side)
    masks = kind.draw(rng, size)
    masks = painting.warp_surfaces(rng, painting.crop_together(masks), LEAST_WARP, kind.warp)
    masks = painting.crop_together(painting.without_specks(masks))
    longest = max(masks[0].shape)
    if extent > side:
        masks = [painting.enlarge(mask, extent / longest) for mask in masks]
    elif longest > side:  # warped beyond the grid by some voxels
        masks = [painting.enlarge(mask, side / longest) for mask in masks]
    return name, painting.crop_together(masks)


def _draw_extent(rng: Generator, kind: Kind, side: int) -> int:
    """Draw the longest side in voxels."""
    far, normal = float(rng.uniform()), float(rng.standard_normal())
    if far < LONGER:
        return min(round(side * LONGEST ** (far / LONGER)), LARGEST)
    extent = round(side * kind.median * math.exp(0.45 * normal))
    return min(max(extent, kind.least), side)


def anatomical_bank(kind: Any, count: int, side: int, seed: int, cache: Any) -> Any:
    """Draw the bank of `TemplateBank.anatomical`, on from what a cache holds.

    Args:
        kind: `TemplateBank`.
        count: Shapes.
        side: Side of the volumes.
        seed: Seed of the shapes.
        cache: Path of the file, or None.
    """
    settings = {"family": "anatomical", "law": LAW, "side": side, "seed": seed}
    path = None if cache is None else Path(cache)
    bank = _cached(kind, path, settings)
    have, begun = (0, 0) if bank is None else (len(bank), bank.group_count)
    fresh: list[PackedMask] = []
    numbers: list[int] = []

    def extended() -> Any:
        more = kind.from_packed(fresh, numbers)
        joined = more if bank is None else kind.joined([bank, more])
        if path is not None:
            joined.write(path, settings, overwrite=True)
        return joined

    if have < count:
        drawn = _shapes(side, seed, begun, count - have)
        for number, shape in counted(drawn, "shapes", count, have):
            if len(fresh) >= CHECKPOINT and number != numbers[-1]:
                bank = extended()
                fresh, numbers = [], []
            fresh.append(shape)
            numbers.append(number)
        bank = extended()
    return bank.first(count) if len(bank) > count else bank


def _cached(kind: Any, path: Path | None, settings: dict[str, Any]) -> Any:
    if path is None or not path.exists():
        return None
    if (found := read_bank(path).settings) != settings:
        raise UserError(f"{path}: expected shapes of {settings}, received {found}; delete it")
    return kind.open(path)


def _shapes(side: int, seed: int, begun: int, count: int) -> Iterator[tuple[int, PackedMask]]:
    """Draw `count` shapes with the numbers of their groups, the last group whole."""
    drawn = 0
    for number, group in enumerate(_groups(side, seed, begun), begun):
        for shape in group:
            yield number, shape
        drawn += len(group)
        if drawn >= count:
            return


def _groups(side: int, seed: int, begun: int) -> Iterator[list[PackedMask]]:
    """Draw groups without end, in order; large ones on all cores, since numpy leaves the lock."""
    workers = (os.cpu_count() or 1) if side >= THREADED else 1
    with ThreadPoolExecutor(workers) as pool:
        numbers = itertools.count(begun)
        pending: list[Future[list[PackedMask]]] = []
        try:
            while True:
                while len(pending) < 2 * workers:
                    pending.append(pool.submit(draw_group, side, seed, next(numbers)))
                yield pending.pop(0).result()
        finally:
            for future in pending:
                future.cancel()


def draw_group(side: int, seed: int, number: int) -> list[PackedMask]:
    """Draw group `number` of a seed: numpy's Philox, keyed by both, counts the draws."""
    key = np.array([seed & 0xFFFFFFFFFFFFFFFF, number], "uint64")
    kind, masks = draw_anatomical_shapes(np.random.Generator(np.random.Philox(key=key)), side)
    parts = [f":{member}" for member in MEMBERS] if len(masks) > 1 else [""]
    return [
        PackedMask(f"{kind}_{number:05d}{part}", *pack_box(mask))
        for part, mask in zip(parts, masks, strict=False)
    ]
