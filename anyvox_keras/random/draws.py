"""Draws from keys: bits, uniform, normal, integers, Bernoulli."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras.random.keys import DRAW
from anyvox_keras.random.threefry import threefry2x32

Array = Any
_UNIT = 2.0**-24


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


def _int32(x: Array, xp: Any) -> Array:
    return np.asarray(x, "int32") if xp is np else ops.convert_to_tensor(x, "int32")
