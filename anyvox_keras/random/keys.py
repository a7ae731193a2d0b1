"""Keys: what every draw depends on."""

from typing import Any

import numpy as np
from keras import ops

from anyvox_keras.random.threefry import name_to_int, threefry2x32

Array = Any

# The counter's second word keeps draws (0) apart from derived keys (1).
DRAW, DERIVE = 0, 1


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
    return np.stack(threefry2x32(base, (index.astype("int32"), derive), np), axis=-1)
