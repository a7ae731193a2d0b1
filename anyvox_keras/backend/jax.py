"""The backend's functions on JAX."""

import contextlib
import os
import pickle
from collections.abc import Iterator
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils
from keras import ops

from anyvox_keras.backend import arrays
from anyvox_keras.backend.device import cpu_has_bfloat16
from anyvox_keras.backend.jax_conv3d import conv3d_on_cpu
from anyvox_keras.shards import lost_told, told_by_keras
from anyvox_keras.types import Function

# XLA reads this when the first array is made, which is after this import. Without it JAX 0.11.2
# refuses a program that keeps the first k of a long `argsort` on a GPU ("compare-greater-than ...
# to have 4 parameters, has 2. Failed after topk-splitter"), as the drawing of voxels is one.
BROKEN_PASSES = "--xla_disable_hlo_passes=topk-splitter,topk-specializer"
if "xla_disable_hlo_passes" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {BROKEN_PASSES}".strip()

repeat, no_gradient = arrays.repeat_in_graph, arrays.gradient_on_request
grid_sample, is_eager_on_cpu = arrays.no_grid_sample, arrays.never_eager
is_eager_inference = arrays.never_eager
# The hand-written gradient is faster than automatic differentiation.
standardize_over_space = arrays.standardize_with_gradient
double = arrays.doubled_by_broadcasts
max_pool = arrays.max_pooled_by_keras
replicas = arrays.one_replica
gradients_averaged = summed_over_peers = arrays.as_they_are
# One program sees the arrays of all devices.
mean_over_devices = reducible = arrays.same
run_processes = arrays.no_processes
value_and_gradient = jax.value_and_grad


def compiled(fn: Function) -> Function:
    """Compile a pure function of arrays.

    Static settings are bound before (`functools.partial`) and the result is kept, since each call
    of this function starts an empty compilation cache.
    """
    return jax.jit(fn)


@contextlib.contextmanager
def on_devices(count: int) -> Iterator[None]:
    """Build and train a model on so many devices, each with its share of a step's batch.

    A CPU counts as many devices as it is told before its first array is made. Several processes
    train on all devices of all of them. Within a distribution's scope, that distribution stays.
    """
    if process_shard()[1] > 1:
        count = device_count()
    if count == 1 or keras.distribution.distribution() is not None:
        yield
        return
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # it is in use: as it was split before
            jax.config.update("jax_num_cpu_devices", count)
    found = keras.distribution.list_devices()
    if count > len(found):
        raise ValueError(f"expected at most {len(found)} devices, received {count}")
    # The stream gives each of several processes its own part of a step.
    together = keras.distribution.DataParallel(devices=found[:count], auto_shard_dataset=False)
    with contextlib.ExitStack() as scopes:
        if process_shard()[1] > 1:
            words = ("Gloo", "NCCL", "heartbeat", "coordination service")
            scopes.enter_context(lost_told((jax.errors.JaxRuntimeError, ValueError), words))
        scopes.enter_context(together.scope())
        yield


def device_count() -> int:
    """Number of devices that could train together, of all processes."""
    if process_shard()[1] > 1 and not jax.distributed.is_initialized():
        # A process whose peer is lost shall say so by itself, not be aborted.
        jax.config.update("jax_enable_recoverability", True)
        keras.distribution.initialize()
    return int(jax.device_count())


def process_shard() -> tuple[int, int]:
    """Which of how many processes this is, as `jax.distributed.initialize` was told.

    Before that, as the environment that `keras.distribution.initialize` reads says.
    """
    # Asked in vain, JAX would begin to use the devices, and a CPU can then not be split any more.
    if jax.distributed.is_initialized():
        return jax.process_index(), jax.process_count()
    return told_by_keras()


def peers() -> tuple[int, int]:
    """Which of how many processes that train one model together this is."""
    if not jax.distributed.is_initialized() or keras.distribution.distribution() is None:
        return 0, 1
    return jax.process_index(), jax.process_count()


def batch_shares(model: keras.Model, /) -> int:
    """Number of devices that share each batch: along the batch's axis of Keras's device mesh."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return int(mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)])


def agreed(value: Any) -> Any:
    """Return the first process's value in all processes that train one model together."""
    if peers()[1] == 1:
        return value
    told = np.frombuffer(pickle.dumps(value), "uint8")
    length = int(multihost_utils.broadcast_one_to_all(np.asarray(len(told))))
    padded = np.zeros(length, "uint8")
    padded[: min(length, len(told))] = told[:length]
    return pickle.loads(bytes(multihost_utils.broadcast_one_to_all(padded)))


def recorded(fn: Function) -> Function:
    """Do the same as `compiled`; control flow may depend on shapes only."""
    return compiled(fn)


def traced_once(fn: Function) -> Function:
    """Share one trace of a function among all its calls with arrays of the same shapes."""
    return jax.jit(fn)


def recorded_over_samples(fn: Function, like: Any) -> Function:
    """Make `program(batch, *shared)` of a function `fn(sample, *shared)`, see `map_samples`."""
    return recorded(lambda batch, *shared: map_samples(lambda one: fn(one, *shared), batch, like))


def map_samples(fn: Function, batch: Any, like: Any) -> Any:
    """Apply a function to one sample after another and stack what it returns.

    A sample is then computed the same way, to the last bit, in a batch of any size.

    Args:
        fn: Function of one sample: the structure of `batch` without the leading axis.
        batch: Structure of arrays with a leading batch axis.
        like: Shapes of what `fn` returns, which JAX finds out by itself.
    """
    return ops.map(fn, batch)


def conv3d(x: jax.Array, kernel: jax.Array, strides: int = 1) -> jax.Array:
    """Convolve `(B, D, H, W, C)` with `(kd, kh, kw, C, F)`, without padding ("valid")."""
    if jax.default_backend() == "cpu" and strides == 1:
        return conv3d_on_cpu(x, kernel)
    layout = ("NDHWC", "DHWIO", "NDHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (strides,) * 3, "VALID", dimension_numbers=layout
    )


def fft3(real: jax.Array, imag: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Fourier transform over the last three axes; returns the real and the imaginary part."""
    y = jax.numpy.fft.fftn(_complex(real, imag), axes=(-3, -2, -1))
    return y.real, y.imag


def ifft3(real: jax.Array, imag: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Inverse of `fft3`, scaled by the number of voxels."""
    y = jax.numpy.fft.ifftn(_complex(real, imag), axes=(-3, -2, -1))
    return y.real, y.imag


def _complex(real: jax.Array, imag: jax.Array | None) -> jax.Array:
    return jax.lax.complex(real, ops.zeros_like(real) if imag is None else imag)


def device_name() -> str:
    """Return the framework's name of the device that computes."""
    device = jax.devices()[0]
    return "CPU" if device.platform == "cpu" else str(device.device_kind)


def has_bfloat16() -> bool:
    """Whether the device that computes has arithmetic for bfloat16."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return cpu_has_bfloat16()
    return float(getattr(device, "compute_capability", 8)) >= 8


def reflect_pad(x: jax.Array, width: int = 1) -> jax.Array:
    """Mirror `(B, D, H, W, C)` about its border voxels."""
    pads = [(0, 0), (width, width), (width, width), (width, width), (0, 0)]
    return jax.numpy.pad(x, pads, "reflect")


def batch_normalize(
    x: jax.Array, gamma: jax.Array, beta: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalise channels by the statistics of all else; returns `(y, mean, biased variance)`.

    Statistics are float32 for any dtype.
    """
    wide = x.astype("float32")
    mean = wide.mean((0, 1, 2, 3))
    variance = ((wide - mean) ** 2).mean((0, 1, 2, 3))
    y = (wide - mean) * (gamma * jax.lax.rsqrt(variance + epsilon)) + beta
    return y.astype(x.dtype), mean, variance
