"""What every backend's module needs, written once in `keras.ops`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

Array = Any
Function = Callable[..., Any]


def to_numpy(x: Array) -> np.ndarray:
    """Copy an array to the host, detached from any gradient graph."""
    return np.asarray(ops.convert_to_numpy(x))


def mean_over_space(x: Array) -> Array:
    """Mean of `(B, D, H, W, C)` over space, axes kept, summed axis by axis.

    TensorFlow's CPU kernel would add all voxels one by one, which loses three digits at 128^3.
    """
    for axis in (3, 2, 1):
        x = ops.mean(x, axis=axis, keepdims=True)
    return x


def standardize(x: Array, epsilon: float) -> tuple[Array, Array]:
    """`(x - mean) / sqrt(variance + epsilon)` over space, and the scale it was multiplied by."""
    centred = x - mean_over_space(x)
    scale = ops.rsqrt(mean_over_space(ops.square(centred)) + epsilon)
    return centred * scale, scale


def standardize_gradient(slope: Array, y: Array, scale: Array) -> Array:
    """Gradient of `standardize`, from what it returned."""
    return (slope - mean_over_space(slope) - y * mean_over_space(slope * y)) * scale


def standardize_with_gradient(x: Array, epsilon: float) -> Array:
    """`standardize` with its gradient written out, for TensorFlow and JAX.

    Automatic differentiation would read and write whole volumes about twice as often.
    """

    @ops.custom_gradient
    def standardized(x: Array) -> tuple[Array, Function]:
        y, scale = standardize(x, epsilon)

        def gradient(*args: Array, upstream: Array = None) -> Array:
            return standardize_gradient(args[0] if upstream is None else upstream, y, scale)

        return y, gradient

    y: Array = standardized(x)
    return y
