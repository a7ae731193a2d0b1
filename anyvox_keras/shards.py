"""How work is shared out: parts of a sequence, batches in turn, and what processes are told."""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

Items = TypeVar("Items", bound=Sequence[Any])
#: environment variable of a process whose starter says itself when one is lost
LAUNCHED = "ANYVOX_LAUNCHED"


def part_of(items: Items, shard: tuple[int, int]) -> Items:
    """Return one of N parts of a sequence; they follow each other and differ by one item at most.

    Example:
        ```python
        >>> part_of("abcde", (0, 2)), part_of("abcde", (1, 2))
        ('ab', 'cde')
        ```
    """
    index, parts = shard
    part: Any = items[len(items) * index // parts : len(items) * (index + 1) // parts]
    return part


def steps_of(count: int | None, shard: tuple[int, int]) -> Iterable[int]:
    """Return the numbers of the batches of one of n shards, which take turns.

    Args:
        count: Number of batches of all shards together; None is endless.
        shard: `(i, n)` with 0 <= i < n.

    Raises:
        ValueError: If `shard` is not of this kind.

    Example:
        ```python
        >>> list(steps_of(5, (1, 2)))
        [1, 3]
        ```
    """
    index, parts = shard
    if not 0 <= index < parts:
        raise ValueError(f"`shard` must be (i, n) with 0 <= i < n. Received: shard={shard}")
    return itertools.count(index, parts) if count is None else range(index, count, parts)


@contextlib.contextmanager
def environment_kept() -> Iterator[None]:
    """Take back what is set in this process for others to inherit.

    Example:
        ```python
        with environment_kept():
            os.environ["OMP_NUM_THREADS"] = "1"
        ```
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
