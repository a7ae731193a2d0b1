"""Effects that only some samples get."""

from collections.abc import Callable

import keras
from keras import ops

from anyvox_keras.ops._backend import Array, is_eager_on_cpu


def only_where(active: Array, effect: Callable[[Array], Array], x: Array) -> Array:
    """Apply an effect to the active samples; where none is active nothing is computed.

    Args:
        active: `(B,)` bool.
        effect: Maps `(B, ...)` to the same shape and dtype.
        x: `(B, ...)`.

    Returns:
        `effect(x)` for the active samples, `x` for the others.
    """

    def changed() -> Array:
        mask = ops.reshape(active, (-1,) + (1,) * (len(x.shape) - 1))
        return ops.where(mask, effect(x), x)

    if is_eager_on_cpu(x):
        return changed() if bool(ops.any(active)) else x
    if keras.config.backend() == "torch":  # control flow on a value would leave the graph
        return changed()
    return ops.cond(ops.any(active), changed, lambda: x)
