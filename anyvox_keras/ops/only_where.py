"""Effects on a random subset of the samples."""

from collections.abc import Callable

import keras
from keras import ops

from anyvox_keras.backend import is_eager_on_cpu
from anyvox_keras.types import Array


def only_where(active: Array, effect: Callable[[Array], Array], x: Array) -> Array:
    """Apply an effect to the active samples; if none is active nothing is computed.

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


def computed_once(witness: Array, compute: Callable[[], Array], like: Array) -> Array:
    """Return `compute()`, which XLA then computes once.

    XLA's CPU compiler repeats chains of elementwise work in each consumer (a minimum, a maximum and
    what is normalised by them), and drops optimisation barriers before it does so. It keeps the
    result of a branch.

    Args:
        witness: Any array of numbers >= 0 whose values are unknown at compile time.
        compute: Function without arguments that returns the result.
        like: Array of the result's shape and dtype, returned in the branch never taken.
    """
    if keras.config.backend() == "torch":
        return compute()
    return ops.cond(ops.max(witness) >= 0, compute, lambda: like)
