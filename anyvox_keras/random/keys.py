"""The counter-based generator under every draw of the package, and the keys it draws from."""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras import backend
from anyvox_keras.types import Array, Function

Pair = tuple[Array, Array]

# A rotation by r: shift left by r, right by 32 - r, and the mask of its r low bits.
_ROTATIONS = tuple(
    tuple(tuple(np.asarray([r, 32 - r, (1 << r) - 1], "int32")) for r in row)
    for row in ((13, 15, 26, 6), (17, 29, 16, 24))
)
_PARITY = 0x1BD11BDA
# The counter's second word keeps draws (0) apart from derived keys (1).
DRAW, DERIVE = 0, 1


def threefry2x32(key: Pair, counter: Pair, xp: Any = keras.ops) -> Pair:
    """Encrypt counters with keys by Threefry-2x32 with 20 rounds.

    A draw is a pure function of `(key, counter)`, so it is the same on every backend, in any
    batch, worker or shard. Arithmetic is on int32, which wraps around in the same way everywhere; a
    logical shift is an arithmetic one and a mask.

    Args:
        key: Two int32 arrays.
        counter: Two int32 arrays of the same shape, broadcast against the key.
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
    if xp is keras.ops:
        return _encrypt_in_graph(*key, *counter)
    return _encrypt(*key, *counter, xp, _repeat_on_host)


def _encrypt(k0: Array, k1: Array, c0: Array, c1: Array, xp: Any, repeat: Function) -> Pair:
    parity = xp.bitwise_xor(xp.bitwise_xor(k0, k1), np.asarray(_PARITY, "int32"))
    schedule = (k0, k1, parity)

    def four_rounds(number: Any, state: Pair) -> Pair:
        x0, x1 = state
        rotations = _select(_ROTATIONS, number % 2, xp)
        for position in range(4):
            x0 = x0 + x1
            x1 = xp.bitwise_xor(_rotate_left(x1, rotations[position], xp), x0)
        x0 = x0 + _select(schedule, (number + 1) % 3, xp)
        return x0, x1 + (_select(schedule, (number + 2) % 3, xp) + (number + 1))

    state: Pair = repeat(5, four_rounds, (c0 + k0, c1 + k1))
    return state


def _repeat_on_host(count: int, body: Function, state: Pair) -> Pair:
    return functools.reduce(lambda state, number: body(number, state), range(count), state)


# A graph holds some fifty draws: the loop is traced for the first alone.
_encrypt_in_graph = backend.traced_once(
    functools.partial(_encrypt, xp=keras.ops, repeat=backend.repeat)
)


def _select(table: Any, index: Any, xp: Any) -> Any:
    """Read a row of a table, where the index may be a number of Python or of the graph."""
    if isinstance(index, int):
        return table[index]
    return xp.take(xp.stack([xp.array(row, dtype="int32") for row in table]), index, axis=0)


def _rotate_left(x: Array, rotation: Any, xp: Any) -> Array:
    left, right, mask = rotation[0], rotation[1], rotation[2]
    low = xp.bitwise_and(xp.right_shift(x, right), mask)
    return xp.bitwise_or(xp.left_shift(x, left), low)


def name_to_int(name: str | int) -> int:
    """Map the name of a sub-stream to an int32 by FNV-1a; integers stay as they are.

    Written in Python, so that `torch.compile` can trace it.
    """
    value = name
    if isinstance(name, str):
        value = 0x811C9DC5
        for letter in name:
            value = ((value ^ ord(letter)) * 0x01000193) & 0xFFFFFFFF
    return (int(value) + 2**31) % 2**32 - 2**31


def fold_in(keys: Array, data: str | int | Array) -> Array:
    """Derive independent keys from keys and a name, an integer or one integer per key.

    Args:
        keys: `(B, 2)` int32.
        data: Name of the sub-stream, an integer, or `(B,)` int32.

    Returns:
        `(B, 2)` int32 keys: Threefry of the counter `(data, 1)`.

    Example:
        ```python
        from anyvox_keras.random import fold_in, keys_for

        bias_keys = fold_in(keys_for(seed=0, indices=[0, 1]), "bias")
        ```
    """
    keys = ops.convert_to_tensor(keys, "int32")
    if isinstance(data, (str, int)):
        data = np.asarray(name_to_int(data), "int32")
    first = ops.zeros_like(keys[:, 0]) + ops.convert_to_tensor(data, "int32")
    x0, x1 = threefry2x32((keys[:, 0], keys[:, 1]), (first, ops.ones_like(first) * DERIVE))
    return ops.stack([x0, x1], axis=-1)


def keys_for(seed: int, indices: Any, stream: str = "") -> np.ndarray:
    """Make one key per sample index, on the host.

    Args:
        seed: Any integer; 64 bits of it count.
        indices: Sample numbers, `(B,)`, each in [0, 2^31).
        stream: Name that keeps, say, training apart from validation.

    Returns:
        `(B, 2)` int32 array. Sample `i` of a seed has the same key in every batch and worker.

    Raises:
        ValueError: If an index is negative or not below 2^31.

    Example:
        ```python
        from anyvox_keras.random import keys_for

        keys = keys_for(seed=7, indices=range(4))
        ```
    """
    index = np.asarray(list(indices), "int64")
    if index.size and (index.min() < 0 or index.max() >= 2**31):
        raise ValueError(f"`indices` must be in [0, 2^31). Received: {index.min()}..{index.max()}")
    low, high = np.asarray([seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF], "uint32").astype("int32")
    derive = np.asarray(DERIVE, "int32")
    # numpy warns of scalar overflow, which is the point of this arithmetic; arrays are silent.
    base = threefry2x32(
        (np.atleast_1d(low), np.atleast_1d(high)),
        (np.atleast_1d(np.asarray(name_to_int(stream), "int32")), derive),
        np,
    )
    words = threefry2x32(base, (index.astype("int32"), derive), np)
    return np.stack([np.asarray(word) for word in words], axis=-1)
