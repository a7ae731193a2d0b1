"""What every backend's module needs, written once in `keras.ops`."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras.types import Array, Function


def to_numpy(x: Array) -> np.ndarray:
    """Copy an array to the host, detached from any gradient graph."""
    return np.asarray(ops.convert_to_numpy(x))


def doubled_by_broadcasts(x: Array, strides: Sequence[int] = (2, 2, 2)) -> Array:
    """Repeat each voxel of `(B, D, H, W, C)` `strides` times along the axes of space.

    Each axis is a rank-4 broadcast, from the innermost: TensorFlow broadcasts no more than rank 5.
    """
    b, d, h, w, c = ops.shape(x)
    i, j, k = strides
    row = k * w * c
    x = ops.broadcast_to(ops.reshape(x, (-1, w, 1, c)), (b * d * h, w, k, c))
    x = ops.broadcast_to(ops.reshape(x, (-1, h, 1, row)), (b * d, h, j, row))
    x = ops.broadcast_to(ops.reshape(x, (-1, d, 1, j * h * row)), (b, d, i, j * h * row))
    return ops.reshape(x, (b, i * d, j * h, k * w, c))


def max_pooled_by_keras(x: Array, strides: Sequence[int] = (2, 2, 2)) -> Array:
    """Largest of each block of `strides` voxels of `(B, D, H, W, C)`; odd planes are left out."""
    size = tuple(strides)
    return ops.max_pool(x, size, strides=size, data_format="channels_last")


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
    """`standardize` in the dtype of `x`, with its gradient written out, for TensorFlow and JAX.

    Statistics are float32 for any dtype. Automatic differentiation would read and write whole
    volumes about twice as often.
    """

    @ops.custom_gradient
    def standardized(x: Array) -> tuple[Array, Function]:
        wide, scale = standardize(ops.cast(x, "float32"), epsilon)
        y = ops.cast(wide, x.dtype)

        def gradient(*args: Array, upstream: Array | None = None) -> Array:
            slope = ops.cast(args[0] if upstream is None else upstream, "float32")
            return ops.cast(standardize_gradient(slope, ops.cast(y, "float32"), scale), x.dtype)

        return y, gradient

    y: Array = standardized(x)
    return y


def repeat_in_graph(count: int, body: Function, state: Any) -> Any:
    """Apply `body(number, state)` for numbers 0..count-1, compiled once and not `count` times."""
    return ops.fori_loop(0, count, body, state)


def gradient_on_request() -> Any:
    """Do nothing: TensorFlow and JAX differentiate only on request."""
    return contextlib.nullcontext()


def no_grid_sample(x: Array, coordinates: Array) -> Array | None:
    """Return None: TensorFlow and JAX have no kernel of their own for trilinear sampling."""
    return None


def never_eager(x: Array) -> bool:
    """Whether Python may look at `x` for free: never, shapes and control flow are static."""
    return False


def one_replica() -> int:
    """Number of devices that each see a part of a step's batch: PyTorch and JAX see it whole."""
    return 1


@contextlib.contextmanager
def as_they_are(given: Any, /) -> Iterator[None]:
    """Change nothing: one process holds the gradients and the sums of all its devices."""
    yield


def same(value: Any) -> Any:
    """Return a value that one process by itself need not agree about."""
    return value


def no_processes(command: Sequence[str], count: int) -> int:
    """Refuse: TensorFlow and JAX train on several devices in one process."""
    raise NotImplementedError
