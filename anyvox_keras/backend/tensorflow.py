"""The backend's functions on TensorFlow."""

import contextlib
import functools
import pickle
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from anyvox_keras.backend import arrays
from anyvox_keras.backend.device import cpu_has_bfloat16
from anyvox_keras.shards import lost_told, told_by_tensorflow
from anyvox_keras.types import Function

repeat, no_gradient = arrays.repeat_in_graph, arrays.gradient_on_request
grid_sample, is_eager_on_cpu = arrays.no_grid_sample, arrays.never_eager
is_eager_inference = arrays.never_eager
# The hand-written gradient is faster than automatic differentiation.
standardize_over_space = arrays.standardize_with_gradient
double = arrays.doubled_by_broadcasts
max_pool = arrays.max_pooled_by_keras
process_shard = told_by_tensorflow
gradients_averaged = summed_over_peers = arrays.as_they_are
run_processes = arrays.no_processes


def compiled(fn: Function) -> Function:
    """Compile a pure function of arrays by XLA.

    Static settings are bound before (`functools.partial`) and the result is kept, since each call
    of this function starts an empty compilation cache.
    """
    return tf.function(fn, jit_compile=True, autograph=False)


@contextlib.contextmanager
def on_devices(count: int) -> Iterator[None]:
    """Build and train a model on so many devices, each with its share of a step's batch.

    Without a GPU the CPU is split into as many, before its first tensor is made. Several processes
    train on all devices of all of them. Within a strategy's scope, that strategy stays.
    """
    if process_shard()[1] > 1 and not tf.distribute.has_strategy():
        losses = tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError
        with lost_told(losses), tf.distribute.MultiWorkerMirroredStrategy().scope():
            yield
        return
    if count == 1 or tf.distribute.has_strategy():
        yield
        return
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if kind == "CPU":
        with contextlib.suppress(RuntimeError):  # it is in use: as it was split before
            tf.config.set_logical_device_configuration(
                tf.config.list_physical_devices("CPU")[0],
                [tf.config.LogicalDeviceConfiguration()] * count,
            )
    found = [device.name for device in tf.config.list_logical_devices(kind)]
    if count > len(found):
        raise ValueError(f"expected at most {len(found)} devices, received {count}")
    with tf.distribute.MirroredStrategy(found[:count]).scope():
        yield


def device_count() -> int:
    """Number of devices that could train together: GPUs, or one CPU, of each process."""
    return max(1, len(tf.config.list_physical_devices("GPU"))) * process_shard()[1]


def peers() -> tuple[int, int]:
    """Which of how many processes that train one model together this is."""
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    return process_shard()


def agreed(value: Any) -> Any:
    """Return the first process's value in all processes that train one model together."""
    if peers()[1] == 1:
        return value
    told = pickle.dumps(value)
    # Whole kilobytes, so that TensorFlow traces few programs; pickle ends where it ended.
    padded = tf.constant(list(told.ljust(-(-len(told) // 1024) * 1024, b"\0")), tf.int32)
    every = tf.distribute.get_strategy().gather(padded, axis=0)
    return pickle.loads(bytes(every.numpy().tolist()))


def recorded(fn: Function) -> Function:
    """Do the same as `compiled`; control flow may depend on shapes only."""
    return compiled(fn)


def traced_once(fn: Function) -> Function:
    """Share one trace of a function of int32 arrays, element by element, among all its calls.

    Every call then adds one node to a graph, whatever the shapes, instead of all of `fn`.
    """
    program = None

    def call(*arrays: tf.Tensor) -> Any:
        nonlocal program
        arrays = tuple(tf.convert_to_tensor(array, tf.int32) for array in arrays)
        if program is None:
            signature = [tf.TensorSpec(None, tf.int32) for _ in arrays]
            program = tf.function(fn, input_signature=signature, autograph=False)
        results = program(*arrays)
        shape = functools.reduce(tf.broadcast_static_shape, [array.shape for array in arrays])
        for result in results:
            result.set_shape(shape)
        return results

    return call


def recorded_over_samples(fn: Function, like: Any) -> Function:
    """Make `program(batch, *shared)` of a function `fn(sample, *shared)`, see `map_samples`."""
    return recorded(lambda batch, *shared: map_samples(lambda one: fn(one, *shared), batch, like))


def map_samples(fn: Function, batch: Any, like: Any) -> Any:
    """Apply a function to one sample after another and stack what it returns.

    A sample is then computed the same way, to the last bit, in a batch of any size.

    Args:
        fn: Function of one sample: the structure of `batch` without the leading axis.
        batch: Structure of arrays with a leading batch axis.
        like: Structure of `keras.KerasTensor`: shape and dtype of what `fn` returns. `ops.map`
            would trace `fn` twice to find out.
    """
    signature = keras.tree.map_structure(lambda one: tf.TensorSpec(one.shape, one.dtype), like)
    return tf.map_fn(fn, batch, fn_output_signature=signature)


def value_and_gradient(fn: Function) -> Function:
    """Turn scalar `fn(x, *rest)` into a function that returns `(value, d value / d x)`."""

    def value_and_gradient_of(x: tf.Tensor, *rest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = fn(x, *rest)
        return value, tape.gradient(value, x)

    return value_and_gradient_of


def conv3d(x: tf.Tensor, kernel: tf.Tensor, strides: int = 1) -> tf.Tensor:
    """Convolve `(B, D, H, W, C)` with `(kd, kh, kw, C, F)`, without padding ("valid")."""
    return tf.nn.conv3d(x, kernel, [1, strides, strides, strides, 1], "VALID")


def fft3(real: tf.Tensor, imag: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    """Fourier transform over the last three axes; returns the real and the imaginary part."""
    y = tf.signal.fft3d(_complex(real, imag))
    return tf.math.real(y), tf.math.imag(y)


def ifft3(real: tf.Tensor, imag: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Inverse of `fft3`, scaled by the number of voxels."""
    y = tf.signal.ifft3d(_complex(real, imag))
    return tf.math.real(y), tf.math.imag(y)


def _complex(real: tf.Tensor, imag: tf.Tensor | None) -> tf.Tensor:
    return tf.complex(real, ops.zeros_like(real) if imag is None else imag)


def device_name() -> str:
    """Return the framework's name of the device that computes."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    name: str = tf.config.experimental.get_device_details(gpus[0])["device_name"]
    return name


def has_bfloat16() -> bool:
    """Whether the device that computes has arithmetic for bfloat16."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return cpu_has_bfloat16()
    details = tf.config.experimental.get_device_details(gpus[0])
    return bool(details.get("compute_capability", (0, 0)) >= (8, 0))


def batch_shares(model: keras.Model, /) -> int:
    """Number of devices that share each batch of a model: those of the strategy it was made in."""
    return int(model.distribute_strategy.num_replicas_in_sync)


def replicas() -> int:
    """Number of devices that each see a part of a step's batch: those of `tf.distribute`."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def mean_over_devices(x: tf.Tensor, /) -> tf.Tensor:
    """Average a number over the devices that train one model together."""
    if replicas() == 1 or tf.distribute.in_cross_replica_context():
        return x
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, x)


def reducible(value: Any) -> Any:
    """Let Keras 3.15 average a dict of a step's numbers over processes, as it does: along an axis.

    Where one process trains, they stay as they are.
    """
    if peers()[1] == 1 or tf.distribute.in_cross_replica_context():
        return value
    return {name: tf.reshape(number, (1,)) for name, number in value.items()}


def reflect_pad(x: tf.Tensor, width: int = 1) -> tf.Tensor:
    """Mirror `(B, D, H, W, C)` about its border voxels."""
    pads = [(0, 0), (width, width), (width, width), (width, width), (0, 0)]
    return tf.pad(x, pads, "REFLECT")


def batch_normalize(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalise channels by the statistics of all else; returns `(y, mean, biased variance)`.

    The fused gradient takes a third of the time of the written-out formula. The forward kernel adds
    millions of floats one by one on a CPU (a variance at 128^3 is off by 1e-3), so the sums are
    made here in stages. Statistics are float32 for any dtype.
    """
    shape = tf.shape(x)
    planes = tf.reshape(x, (-1, shape[2], shape[3], x.shape[-1]))
    if tf.config.list_physical_devices("GPU"):
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=planes, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon
        )
        count = tf.cast(tf.size(planes) // x.shape[-1], tf.float32)
        return tf.reshape(y, shape), mean, variance * (count - 1) / count

    @tf.custom_gradient
    def normalize(planes: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[Any, Function]:
        wide = tf.cast(planes, tf.float32)
        mean = _mean_by_axis(wide)
        variance = _mean_by_axis(tf.square(wide - mean))
        scale = gamma * tf.math.rsqrt(variance + epsilon)
        y = tf.cast(wide * scale + (beta - mean * scale), planes.dtype)

        def gradient(slope: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            of_planes, of_gamma, of_beta, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=slope,
                x=planes,
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=[],
                epsilon=epsilon,
            )
            return of_planes, of_gamma, of_beta

        return (y, mean, variance), gradient

    y, mean, variance = normalize(planes, tf.identity(gamma), tf.identity(beta))
    return tf.reshape(y, shape), mean, variance


def _mean_by_axis(x: tf.Tensor) -> tf.Tensor:
    for axis in (2, 1, 0):
        x = tf.reduce_mean(x, axis)
    return x
