"""Permutations and choices without replacement, evaluated only where they are read."""

import math
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras.random.draws import bits
from anyvox_keras.random.threefry import threefry2x32

Array = Any

# Below this a sort of random words is cheap and exact; above, two million would be sorted
# to draw five hundred.
_SORT_UP_TO = 4096
_ROUNDS = 4


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
    left, right = index // _int32(columns), index % _int32(columns)
    for number in range(_ROUNDS):
        left = ops.mod(left + _round(keys, right, 2 * number, rows), _int32(rows))
        right = ops.mod(right + _round(keys, left, 2 * number + 1, columns), _int32(columns))
    return left * _int32(columns) + right


def _round(keys: Array, half: Array, number: int, modulus: int) -> Array:
    # 2 + number: other counters than those of draws and of derived keys.
    counter = (half, ops.zeros_like(half) + _int32(2 + number))
    word, _ = threefry2x32((keys[:, 0:1], keys[:, 1:2]), counter)
    return ops.mod(ops.bitwise_and(word, _int32(0x7FFFFFFF)), _int32(modulus))


def _most_square_divisor(n: int) -> int:
    return next((d for d in range(math.isqrt(max(n, 1)), 0, -1) if n % d == 0), 1)


def _int32(value: int) -> np.ndarray:
    return np.asarray(value, "int32")
