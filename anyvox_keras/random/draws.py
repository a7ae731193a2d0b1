"""Draws from keys: bits, uniform, normal, integers, Bernoulli, whole plans, permutations."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from anyvox_keras.random.keys import DERIVE, DRAW, name_to_int, threefry2x32
from anyvox_keras.types import Array

_UNIT = 2.0**-24
Path = tuple[str, ...]
#: Draws of more words than this are made on their own.
LARGE = 8192
Plan = Mapping[str, Any]
# Below this a sort of random words is cheap and exact; above, two million would be sorted
# to draw five hundred.
_SORT_UP_TO = 4096
_ROUNDS = 4


def bits(keys: Array, n: int, xp: Any = ops) -> Array:
    """Draw `n` int32 words of random bits per key: `(B, 2)` -> `(B, n)`.

    `xp` is `keras.ops`, or `numpy` for draws on the host, which are the same.
    """
    keys = _int32(keys, xp)
    counter = xp.arange((n + 1) // 2, dtype="int32")[None]
    domain = xp.full_like(counter, DRAW)
    x0, x1 = threefry2x32((keys[:, 0:1], keys[:, 1:2]), (counter, domain), xp)
    return xp.concatenate([x0, x1], axis=1)[:, :n]


def _bits24(words: Array) -> Array:
    shifted = ops.right_shift(words, np.asarray(8, "int32"))
    return ops.bitwise_and(shifted, np.asarray(0xFFFFFF, "int32"))


def uniform(
    keys: Array, shape: Sequence[int], low: float | Array = 0.0, high: float | Array = 1.0
) -> Array:
    """Draw uniform float32 numbers in [low, high) with 24 random bits.

    Args:
        keys: `(B, 2)` int32.
        shape: Shape of one sample's draw.
        low: Lower end, a number or an array that broadcasts against `(B, *shape)`.
        high: Upper end, likewise.

    Returns:
        `(B, *shape)` float32.

    Example:
        ```python
        from anyvox_keras.random import keys_for, uniform

        angles = uniform(keys_for(0, range(2)), (3,), -180.0, 180.0)
        ```
    """
    return uniform_from(bits(keys, math.prod(shape)), shape, low, high)


def uniform_from(words: Array, shape: Sequence[int], low: Any, high: Any) -> Array:
    """Turn `(B, prod(shape))` random words into uniform numbers."""
    unit = ops.cast(_bits24(words), "float32") * _UNIT
    return low + (high - low) * ops.reshape(unit, (-1, *shape))


def normal(keys: Array, shape: Sequence[int]) -> Array:
    """Draw standard normal float32 numbers, `(B, *shape)`, by the Box-Muller transform."""
    return normal_from(bits(keys, 2 * ((math.prod(shape) + 1) // 2)), shape)


def normal_from(words: Array, shape: Sequence[int]) -> Array:
    """Turn an even number of random words, at least `prod(shape)`, into normal numbers."""
    n, half = math.prod(shape), words.shape[1] // 2
    words = ops.cast(_bits24(words), "float32")
    radius = ops.sqrt(-2.0 * ops.log((words[:, :half] + 1.0) * _UNIT))
    angle = words[:, half:] * (2.0 * math.pi * _UNIT)
    both = ops.concatenate([radius * ops.cos(angle), radius * ops.sin(angle)], axis=1)
    return ops.reshape(both[:, :n], (-1, *shape))


def integers(
    keys: Array, shape: Sequence[int], low: int | Array, high: int | Array, xp: Any = ops
) -> Array:
    """Draw int32 integers in [low, high), `(B, *shape)`; the bias is below (high - low) / 2^31.

    Args:
        keys: `(B, 2)` int32.
        shape: Shape of one sample's draw.
        low: Smallest value, an integer or an int32 array that broadcasts against `(B, *shape)`.
        high: One more than the largest, likewise.
        xp: `keras.ops`, or `numpy` for draws on the host, which are the same.

    Example:
        ```python
        from anyvox_keras.random import integers, keys_for

        count = integers(keys_for(0, range(2)), (), 20, 40)
        ```
    """
    return integers_from(bits(keys, math.prod(shape), xp), shape, low, high, xp)


def integers_from(
    words: Array, shape: Sequence[int], low: int | Array, high: int | Array, xp: Any = ops
) -> Array:
    """Turn `(B, prod(shape))` random words into integers."""
    words = xp.bitwise_and(words, np.asarray(0x7FFFFFFF, "int32"))
    low, high = _int32(low, xp), _int32(high, xp)
    return low + xp.mod(xp.reshape(words, (-1, *shape)), high - low)


def bernoulli(keys: Array, shape: Sequence[int], p: float) -> Array:
    """Draw booleans that are true with probability `p`, `(B, *shape)`.

    The decision compares integers, so it never differs between backends.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"`p` must be in [0, 1]. Received: p={p}")
    return bernoulli_from(bits(keys, math.prod(shape)), shape, p)


def bernoulli_from(words: Array, shape: Sequence[int], p: float) -> Array:
    """Turn `(B, prod(shape))` random words into decisions."""
    return ops.reshape(_bits24(words) < round(p * 2**24), (-1, *shape))


def _int32(x: int | Array, xp: Any) -> Array:
    return np.asarray(x, "int32") if xp is np else ops.convert_to_tensor(x, "int32")


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
            return normal_from(words, self.shape)
        if self.kind == "bernoulli":
            return bernoulli_from(words, self.shape, self.high)
        make = {"uniform": uniform_from, "integers": integers_from}[self.kind]
        return make(words, self.shape, self.low, self.high)


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
    if not leaves:
        return {}
    derived = _derive(ops.convert_to_tensor(keys, "int32"), [path for path, _ in leaves])
    words: dict[int, Array] = {}
    small = [i for i, (_, draw) in enumerate(leaves) if draw.words <= LARGE]
    words.update(_small_words(derived, small, [leaves[i][1].words for i in small]))
    for i, (_, draw) in enumerate(leaves):
        if i not in words:
            words[i] = bits(derived[:, i], draw.words)
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


def choice(keys: Array, n: int, k: int) -> Array:
    """Draw `k` different integers of [0, n) per key.

    Above 4096 candidates the draw is the head of a keyed permutation of [0, n), n = a b, by an
    unbalanced Feistel network on pairs (l, r) of Z_a x Z_b, whose round function is Threefry:

        l <- l + F(r) mod a,    r <- r + F(l) mod b

    Args:
        keys: `(B, 2)` int32.
        n: Number of candidates.
        k: How many to draw, at most `n`.

    Returns:
        `(B, k)` int32.

    Raises:
        ValueError: If `k` exceeds `n`.

    Example:
        ```python
        from anyvox_keras.random import choice, keys_for

        voxels = choice(keys_for(0, range(2)), 64**3, 512)
        ```
    """
    if not 0 <= k <= n:
        raise ValueError(f"`k` must be in [0, n]. Received: k={k}, n={n}")
    rows = _most_square_divisor(n)
    if n <= _SORT_UP_TO or rows < 16:
        return ops.cast(ops.argsort(bits(keys, n), axis=1)[:, :k], "int32")
    return _feistel(ops.convert_to_tensor(keys, "int32"), rows, n // rows, k)


def permutation(keys: Array, n: int) -> Array:
    """Permute [0, n): `choice` of all of it, `(B, n)` int32."""
    return choice(keys, n, n)


def _feistel(keys: Array, rows: int, columns: int, k: int) -> Array:
    index = keys[:, 0:1] * 0 + ops.arange(k, dtype="int32")
    left, right = index // _host_int32(columns), index % _host_int32(columns)
    for number in range(_ROUNDS):
        left = ops.mod(left + _round(keys, right, 2 * number, rows), _host_int32(rows))
        right = ops.mod(right + _round(keys, left, 2 * number + 1, columns), _host_int32(columns))
    return left * _host_int32(columns) + right


def _round(keys: Array, half: Array, number: int, modulus: int) -> Array:
    # 2 + number: other counters than those of draws and of derived keys.
    counter = (half, ops.zeros_like(half) + _host_int32(2 + number))
    word, _ = threefry2x32((keys[:, 0:1], keys[:, 1:2]), counter)
    return ops.mod(ops.bitwise_and(word, _host_int32(0x7FFFFFFF)), _host_int32(modulus))


def _most_square_divisor(n: int) -> int:
    return next((d for d in range(math.isqrt(max(n, 1)), 0, -1) if n % d == 0), 1)


def _host_int32(value: int) -> np.ndarray:
    return np.asarray(value, "int32")
