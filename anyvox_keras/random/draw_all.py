"""Many small draws at once."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from anyvox_keras.random import draws
from anyvox_keras.random.keys import DERIVE, DRAW
from anyvox_keras.random.threefry import name_to_int, threefry2x32

Array = Any
Path = tuple[str, ...]

#: Draws of more words than this are made on their own.
LARGE = 8192


class Draw(NamedTuple):
    """What to draw: "uniform", "integers" in [low, high), "normal", "bernoulli" (p = high), "key".

    A "key" is two words, from which an effect expands its noise only where it is used.
    """

    kind: str
    shape: tuple[int, ...] = ()
    low: Any = 0.0
    high: Any = 1.0

    @property
    def words(self) -> int:
        """Number of random words it takes."""
        if self.kind == "key":
            return 2
        n = math.prod(self.shape)
        return 2 * ((n + 1) // 2) if self.kind == "normal" else n

    def values(self, words: Array) -> Array:
        """Turn random words into values `(B, *shape)`."""
        if self.kind == "key":
            return words
        if self.kind == "normal":
            return draws.normal_from(words, self.shape)
        if self.kind == "bernoulli":
            return draws.bernoulli_from(words, self.shape, self.high)
        make = {"uniform": draws.uniform_from, "integers": draws.integers_from}[self.kind]
        return make(words, self.shape, self.low, self.high)


Plan = Mapping[str, Any]


def draw_all(keys: Array, plan: Plan) -> dict[str, Any]:
    """Draw a tree of values: the same as one draw after the other, in a few calls of Threefry.

    The value at a path `a/b` is that of `uniform(fold_in(fold_in(keys, "a"), "b"), ...)` or of its
    kind. A volume takes a hundred small draws: together they are one wide operation, which
    costs a compiler and an eager backend a tenth.

    Args:
        keys: `(B, 2)` int32.
        plan: `Draw`s by name, nested as deep as needed.

    Returns:
        Values `(B, *shape)` in the same tree.

    Example:
        ```python
        from anyvox_keras.random import Draw, draw_all, keys_for

        plan = {"noise": {"std": Draw("uniform", (), 0.0, 0.25), "field": Draw("normal", (8, 8))}}
        drawn = draw_all(keys_for(0, range(2)), plan)
        ```
    """
    leaves = list(_leaves(plan))
    derived = _derive(ops.convert_to_tensor(keys, "int32"), [path for path, _ in leaves])
    words: dict[int, Array] = {}
    small = [i for i, (_, draw) in enumerate(leaves) if draw.words <= LARGE]
    words.update(_small_words(derived, small, [leaves[i][1].words for i in small]))
    for i, (_, draw) in enumerate(leaves):
        if i not in words:
            words[i] = draws.bits(derived[:, i], draw.words)
    return _tree([(path, draw.values(words[i])) for i, (path, draw) in enumerate(leaves)])


def _leaves(plan: Plan, above: Path = ()) -> Iterator[tuple[Path, Draw]]:
    for name, item in plan.items():
        if isinstance(item, Draw):
            yield (*above, name), item
        else:
            yield from _leaves(item, (*above, name))


def _derive(keys: Array, paths: Sequence[Path]) -> Array:
    """Fold each path's names into the keys, level by level: `(B, 2)` to `(B, paths, 2)`."""
    known: dict[Path, int] = {(): 0}
    table = keys[:, None]
    for depth in range(1, max(map(len, paths)) + 1):
        heads = list(dict.fromkeys(path[:depth] for path in paths if len(path) >= depth))
        parents = np.asarray([known[head[:-1]] for head in heads], "int32")
        names = np.asarray([name_to_int(head[-1]) for head in heads], "int32")
        derived = ops.stack(_threefry(table, parents, names, DERIVE), axis=-1)
        known.update({head: len(known) + i for i, head in enumerate(heads)})
        table = ops.concatenate([table, derived], axis=1)
    return ops.take(table, np.asarray([known[path] for path in paths], "int32"), axis=1)


def _small_words(derived: Array, which: list[int], lengths: list[int]) -> dict[int, Array]:
    """Draw the words of several keys side by side."""
    if not which:
        return {}
    halves = [(n + 1) // 2 for n in lengths]
    owners = np.repeat(np.asarray(which, "int32"), halves)
    counters = np.concatenate([np.arange(half, dtype="int32") for half in halves])
    x0, x1 = _threefry(derived, owners, counters, DRAW)
    words, start = {}, 0
    for i, half, n in zip(which, halves, lengths, strict=True):
        pair = [x[:, start : start + half] for x in (x0, x1)]
        words[i], start = ops.concatenate(pair, axis=1)[:, :n], start + half
    return words


def _threefry(table: Array, rows: np.ndarray, counters: np.ndarray, domain: int) -> Any:
    """Encrypt counter `j` with the key in row `rows[j]` of `(B, n, 2)`."""
    chosen = ops.take(table, rows, axis=1)
    first = ops.convert_to_tensor(counters[None])
    second = ops.zeros_like(first) + domain
    return threefry2x32((chosen[..., 0], chosen[..., 1]), (first, second))


def _tree(leaves: list[tuple[Path, Array]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in leaves:
        node = tree
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = value
    return tree
