"""Banks of the anatomical family: drawn on all cores, kept on the disk."""

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.progress import counted
from anyvox_keras.templates.anatomical.family import MEMBERS, draw_anatomical_shapes
from anyvox_keras.templates.bank_file import PackedMask, pack_box, read_bank

#: Changes with what a seed gives, so that no cache of another law is taken for this one's.
LAW = 1
#: Side from which on threads are worth their while.
THREADED = 64
#: Shapes that a killed build may lose.
CHECKPOINT = 500


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
