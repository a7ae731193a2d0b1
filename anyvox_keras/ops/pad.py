"""Padding of the three spatial axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

Array = Any

# Modes that only repeat voxels; numpy uses the same names.
_INDEX_MODES = ("reflect", "symmetric", "edge")


def pad(x: Array, pads: Sequence[Sequence[int]], mode: str = "reflect") -> Array:
    """Pad axes 1, 2 and 3.

    Each axis is gathered by the index that numpy's own padding gives, which is exact for any width
    on every backend; the backends' padding modes differ.

    Args:
        x: `(B, D, H, W, ...)`, any dtype.
        pads: `((before, after), ...)` for the three axes.
        mode: "reflect" (edge voxel not repeated), "symmetric" (repeated), "edge" or "zeros".

    Returns:
        The padded array.

    Raises:
        ValueError: If `mode` is unknown or a width is negative.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import pad

        padded = pad(np.ones((1, 4, 4, 4, 1), "float32"), ((1, 1),) * 3)
        ```
    """
    if any(width < 0 for pair in pads for width in pair):
        raise ValueError(f"`pads` must be >= 0. Received: pads={pads}")
    if mode == "zeros":
        rest = [(0, 0)] * (len(x.shape) - 4)
        return ops.pad(x, [(0, 0), *(tuple(pair) for pair in pads), *rest])
    if mode not in _INDEX_MODES:
        known = "reflect, symmetric, edge, zeros"
        raise ValueError(f"`mode` must be one of {known}. Received: mode={mode}")
    for axis, pair in enumerate(pads, start=1):
        if tuple(pair) != (0, 0):
            index = np.pad(np.arange(x.shape[axis], dtype="int32"), tuple(pair), mode)  # type: ignore[call-overload]
            x = ops.take(x, index, axis=axis)
    return x
