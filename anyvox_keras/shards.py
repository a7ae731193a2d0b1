"""How work is shared out: parts of a sequence, batches in turn, and what processes are told."""

import contextlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from anyvox_keras.errors import UserError

Items = TypeVar("Items", bound=Sequence[Any])
#: environment variable of a process whose starter says itself when one is lost
LAUNCHED = "ANYVOX_LAUNCHED"
#: what is said where one of several processes ended
LOST = "process{} of the training was lost; the run goes on from its last checkpoint with --resume"


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
def lost_told(errors: tuple[type[Exception], ...], words: Sequence[str] = ()) -> Iterator[None]:
    """Say in one line that another process was lost, which frameworks say in words of their own.

    Args:
        errors: What the framework raises then.
        words: Of which its message holds one, where such an error may be any other, too.

    Raises:
        ConnectionError: In the place of such an error.
    """
    try:
        yield
    except errors as error:
        if words and not any(word in str(error) for word in words):
            raise
        raise ConnectionError(LOST.format("")) from error


def told_by_torchrun() -> tuple[int, int]:
    """Which of how many processes this is, as `torchrun` said to it.

    Raises:
        UserError: If that is no number.
    """
    return _number_in("RANK", 0), _number_in("WORLD_SIZE", 1)


def told_by_keras() -> tuple[int, int]:
    """Which of how many processes this is, as said for `keras.distribution.initialize`.

    Raises:
        UserError: If that is no number.
    """
    index = _number_in("KERAS_DISTRIBUTION_PROCESS_ID", 0)
    return index, _number_in("KERAS_DISTRIBUTION_NUM_PROCESSES", 1)


def _number_in(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "") or str(otherwise)
    if not text.isdecimal():
        raise UserError(f"{name}: expected a whole number in the environment, received {text[:80]}")
    return int(text)


def told_by_tensorflow() -> tuple[int, int]:
    """Which of how many processes this is, as `TF_CONFIG` says.

    Raises:
        UserError: If that is not what `tf.distribute` reads.
    """
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        told = json.loads(text)
        cluster = told.get("cluster", {})
        chiefs, workers = (len(cluster.get(kind, ())) for kind in ("chief", "worker"))
        if chiefs + workers < 2:
            return 0, 1
        before = chiefs if told["task"]["type"] == "worker" else 0
        return before + int(told["task"]["index"]), chiefs + workers
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            "TF_CONFIG: expected JSON with `cluster` and `task`, see tf.distribute, received "
            f"{text[:80]}"
        ) from error


#: backend -> how its processes know which of how many they are
TOLD = {"torch": told_by_torchrun, "jax": told_by_keras, "tensorflow": told_by_tensorflow}


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
