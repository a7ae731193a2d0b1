"""The counter-based generator under every draw of the package."""

import zlib
from typing import Any

import keras
import numpy as np

Array = Any
Pair = tuple[Array, Array]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry2x32(key: Pair, counter: Pair, xp: Any = keras.ops) -> Pair:
    """Encrypt counters with keys by Threefry-2x32 with 20 rounds.

    A draw is a pure function of `(key, counter)`, so it is the same on every backend, in any
    batch, worker or shard. Arithmetic is on int32, which wraps alike everywhere; a logical shift
    is an arithmetic one and a mask.

    Args:
        key: Two int32 arrays.
        counter: Two int32 arrays, broadcast against the key.
        xp: The array namespace: `keras.ops`, or `numpy` on the host.

    Returns:
        Two int32 arrays of random bits.

    Reference:
        Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011 (Random123).

    Example:
        ```python
        import numpy as np
        from anyvox_keras.random import threefry2x32

        zero = np.zeros(1, "int32")
        x0, x1 = threefry2x32((zero, zero), (zero, zero), np)
        assert (int(x0[0]) & 0xFFFFFFFF) == 0x6B200159
        ```
    """
    k0, k1 = key
    schedule = (k0, k1, xp.bitwise_xor(xp.bitwise_xor(k0, k1), _int32(_PARITY)))
    x0, x1 = counter[0] + k0, counter[1] + k1
    for injection in range(5):
        for bits in _ROTATIONS[injection % 2]:
            x0 = x0 + x1
            x1 = xp.bitwise_xor(_rotate_left(x1, bits, xp), x0)
        x0 = x0 + schedule[(injection + 1) % 3]
        x1 = x1 + (schedule[(injection + 2) % 3] + _int32(injection + 1))
    return x0, x1


def _rotate_left(x: Array, bits: int, xp: Any) -> Array:
    low = xp.bitwise_and(xp.right_shift(x, _int32(32 - bits)), _int32((1 << bits) - 1))
    return xp.bitwise_or(xp.left_shift(x, _int32(bits)), low)


def _int32(value: int) -> np.ndarray:
    # A bare Python integer would widen to int64 on some backends.
    return np.asarray(value, "int32")


def name_to_int(name: str | int) -> int:
    """Map the name of a sub-stream to an int32; integers stay as they are."""
    value = zlib.crc32(name.encode()) if isinstance(name, str) else name
    return int(np.asarray(value & 0xFFFFFFFF, "uint32").astype("int32"))
