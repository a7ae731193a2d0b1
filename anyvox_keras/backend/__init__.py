"""Everything that differs between TensorFlow, PyTorch and JAX, in one place.

The rest of the package is written in `keras.ops`; only this module (and the PyTorch checkpoint
interop) imports a framework.
"""

import contextlib
import re
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

NAME: str = keras.config.backend()

if NAME == "tensorflow":
    import tensorflow as tf
elif NAME == "torch":
    import torch

    from anyvox_keras.backend.torch_program import TorchProgram
elif NAME == "jax":
    import jax

    from anyvox_keras.backend.jax_conv3d import conv3d_on_cpu
else:
    raise ImportError(
        "anyvox_keras needs the Keras backend tensorflow, torch or jax. "
        f"Received: KERAS_BACKEND={NAME}"
    )

Array = Any
Function = Callable[..., Any]


def compiled(fn: Function) -> Function:
    """Compile a pure function of arrays: XLA on TensorFlow, `jit` on JAX, inductor for torch's GPU.

    On a CPU torch stays eager: inductor takes about a minute to compile one volume's synthesis.
    Static settings are bound before (`functools.partial`) and the result is kept, since each call
    of this function starts an empty compilation cache.
    """
    if NAME == "tensorflow":
        return tf.function(fn, jit_compile=True, autograph=False)
    if NAME == "jax":
        return jax.jit(fn)
    if torch.cuda.is_available():
        return torch.compile(fn, dynamic=False)
    return fn


def recorded(fn: Function) -> Function:
    """Do what `compiled` does; torch's GPU gets a single graph.

    For functions whose control flow hangs on shapes alone: torch follows one call of them. What
    `compiled` gives it there falls into hundreds of pieces, at every constant of numpy's.
    """
    if NAME == "torch" and torch.cuda.is_available():
        return TorchProgram(fn, torch._inductor.compile)
    return compiled(fn)


def recorded_over_samples(fn: Function, like: Any) -> Function:
    """Make `program(batch, *shared)` of a function `fn(sample, *shared)`, see `map_samples`."""
    if NAME == "torch":
        # The graph is that of one sample: a loop over samples would be written out in it.
        program = recorded(fn)
        return lambda batch, *shared: map_samples(lambda one: program(one, *shared), batch, like)
    return recorded(lambda batch, *shared: map_samples(lambda one: fn(one, *shared), batch, like))


def repeat(count: int, body: Function, state: Any) -> Any:
    """Apply `body(number, state)` for numbers 0..count-1.

    A loop of the graph where XLA compiles, so that the body is compiled once and not `count`
    times; Python's own loop on torch, where numbers stay Python's and cost nothing.
    """
    if NAME != "torch":
        return ops.fori_loop(0, count, body, state)
    for number in range(count):
        state = body(number, state)
    return state


def map_samples(fn: Function, batch: Any, like: Any) -> Any:
    """Apply a function to one sample after another and stack what it returns.

    A sample is then computed the same way, to the last bit, in a batch of any size.

    Args:
        fn: Function of one sample: the structure of `batch` without the leading axis.
        batch: Structure of arrays with a leading batch axis.
        like: Structure of `keras.KerasTensor`: shape and dtype of what `fn` returns. `ops.map`
            would trace `fn` twice on TensorFlow to find out.
    """
    if NAME != "tensorflow":
        return ops.map(fn, batch)
    signature = keras.tree.map_structure(lambda one: tf.TensorSpec(one.shape, one.dtype), like)
    return tf.map_fn(fn, batch, fn_output_signature=signature)


def value_and_gradient(fn: Function) -> Function:
    """Turn scalar `fn(x, *rest)` into a function that returns `(value, d value / d x)`."""
    if NAME == "jax":
        return jax.value_and_grad(fn)

    def value_and_gradient_of(x: Array, *rest: Array) -> tuple[Array, Array]:
        if NAME == "tensorflow":
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = fn(x, *rest)
            return value, tape.gradient(value, x)
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            value = fn(x, *rest)
            (gradient,) = torch.autograd.grad(value, x)
        return value.detach(), gradient

    return value_and_gradient_of


@contextlib.contextmanager
def no_gradient() -> Iterator[None]:
    """Keep torch from recording a graph; the other backends record only on request."""
    with torch.no_grad() if NAME == "torch" else contextlib.nullcontext():
        yield


def to_numpy(x: Array) -> np.ndarray:
    """Copy an array to the host, detached from any gradient graph."""
    return np.asarray(ops.convert_to_numpy(x))


def conv3d(x: Array, kernel: Array, strides: int = 1) -> Array:
    """Convolve `(B, D, H, W, C)` with `(kd, kh, kw, C, F)`, without padding ("valid")."""
    if NAME == "tensorflow":
        return tf.nn.conv3d(x, kernel, [1, strides, strides, strides, 1], "VALID")
    if NAME == "jax":
        return _conv3d_jax(x, kernel, strides)
    # A permuted view of channels-last memory is torch's own channels_last_3d: nothing is copied.
    weight = kernel.permute(4, 3, 0, 1, 2).contiguous(memory_format=torch.channels_last_3d)
    y = torch.nn.functional.conv3d(x.permute(0, 4, 1, 2, 3), weight, stride=strides)
    return y.permute(0, 2, 3, 4, 1)


def _conv3d_jax(x: Array, kernel: Array, strides: int) -> Array:
    if jax.default_backend() == "cpu" and strides == 1:
        return conv3d_on_cpu(x, kernel)
    layout = ("NDHWC", "DHWIO", "NDHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (strides,) * 3, "VALID", dimension_numbers=layout
    )


def grid_sample(x: Array, coordinates: Array) -> Array | None:
    """Trilinear sampling with zeros outside by torch's own kernel; None on other backends."""
    if NAME != "torch":
        return None
    size = torch.tensor(x.shape[1:4], dtype=torch.float32, device=x.device)
    normalised = ((2 * coordinates + 1) / size - 1).flip(-1)
    y = torch.nn.functional.grid_sample(
        x.permute(0, 4, 1, 2, 3), normalised.to(x.dtype), align_corners=False
    )
    return y.permute(0, 2, 3, 4, 1)


def fft3(real: Array, imag: Array | None = None) -> tuple[Array, Array]:
    """Fourier transform over the last three axes; returns the real and the imaginary part."""
    return _complex_transform(real, imag, inverse=False)


def ifft3(real: Array, imag: Array) -> tuple[Array, Array]:
    """Inverse of `fft3`, scaled by the number of voxels."""
    return _complex_transform(real, imag, inverse=True)


def _complex_transform(real: Array, imag: Array | None, inverse: bool) -> tuple[Array, Array]:
    imag = ops.zeros_like(real) if imag is None else imag
    if NAME == "tensorflow":
        spectrum = tf.complex(real, imag)
        y = tf.signal.ifft3d(spectrum) if inverse else tf.signal.fft3d(spectrum)
        return tf.math.real(y), tf.math.imag(y)
    if NAME == "jax":
        transform = jax.numpy.fft.ifftn if inverse else jax.numpy.fft.fftn
        y = transform(jax.lax.complex(real, imag), axes=(-3, -2, -1))
        return y.real, y.imag
    transform = torch.fft.ifftn if inverse else torch.fft.fftn
    y = transform(torch.complex(real, imag), dim=(-3, -2, -1))
    return y.real, y.imag


def is_eager_on_cpu(x: Array) -> bool:
    """Whether Python may look at `x` for free: torch, running eagerly, on a CPU.

    There, work that no value needs is skipped; elsewhere shapes and control flow are static.
    """
    if NAME != "torch" or torch.compiler.is_compiling() or TorchProgram.recording:
        return False
    return x.device.type == "cpu"


def device_name() -> str:
    """Name the device that computes, as the framework calls it."""
    if NAME == "tensorflow":
        gpus = tf.config.list_physical_devices("GPU")
        return (
            "CPU" if not gpus else tf.config.experimental.get_device_details(gpus[0])["device_name"]
        )
    if NAME == "jax":
        device = jax.devices()[0]
        return "CPU" if device.platform == "cpu" else device.device_kind
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MB (2^20 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        # The system call's figure begins at the size of the process that started this one.
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        return int(found[1]) / 1024 if found else 0.0
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)


def reflect_pad(x: Array, width: int = 1) -> Array:
    """Mirror `(B, D, H, W, C)` about its border voxels, without a change of memory layout."""
    pads = [(0, 0), (width, width), (width, width), (width, width), (0, 0)]
    if NAME == "tensorflow":
        return tf.pad(x, pads, "REFLECT")
    if NAME == "jax":
        return jax.numpy.pad(x, pads, "reflect")
    # Rank 5 is padded by torch channels-first only; the permuted view keeps the memory as it is.
    y = torch.nn.functional.pad(x.permute(0, 4, 1, 2, 3), (width,) * 6, mode="reflect")
    return y.permute(0, 2, 3, 4, 1)


def batch_normalize(
    x: Array, gamma: Array, beta: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    """Normalise channels by the statistics of all else; returns `(y, mean, biased variance)`.

    The fused gradients of TensorFlow and torch take a third of the time of the written-out
    formula. Their forward kernels add millions of floats one by one on a CPU (a variance at 128^3
    is off by 1e-3), so the sums are made here in stages. Statistics are float32 for any dtype.
    """
    if NAME == "tensorflow":
        return _batch_normalize_tensorflow(x, gamma, beta, epsilon)
    if NAME == "torch":
        return _BatchNormalize.apply(x, gamma, beta, epsilon)
    wide = x.astype("float32")
    mean = wide.mean((0, 1, 2, 3))
    variance = ((wide - mean) ** 2).mean((0, 1, 2, 3))
    y = (wide - mean) * (gamma * jax.lax.rsqrt(variance + epsilon)) + beta
    return y.astype(x.dtype), mean, variance


def mean_over_space(x: Array) -> Array:
    """Mean of `(B, D, H, W, C)` over space, axes kept, summed axis by axis.

    TensorFlow's CPU kernel would add all voxels one by one, which loses three digits at 128^3.
    """
    for axis in (3, 2, 1):
        x = ops.mean(x, axis=axis, keepdims=True)
    return x


def standardize_over_space(x: Array, epsilon: float) -> Array:
    """`(x - mean) / sqrt(variance + epsilon)` over the space of float32 `(B, D, H, W, C)`.

    The gradient is written out: derived from the forward pass, it reads and writes whole volumes
    about twice as often.
    """
    if NAME == "torch":
        # Not by `ops.custom_gradient`: its closure and the output hold each other, which torch
        # never frees.
        return _Standardize.apply(x, epsilon)

    @ops.custom_gradient
    def standardize(x: Array) -> tuple[Array, Function]:
        y, scale = _standardize(x, epsilon)

        def gradient(*args: Array, upstream: Array = None) -> Array:
            return _standardize_gradient(args[0] if upstream is None else upstream, y, scale)

        return y, gradient

    return standardize(x)


def _standardize(x: Array, epsilon: float) -> tuple[Array, Array]:
    centred = x - mean_over_space(x)
    scale = ops.rsqrt(mean_over_space(ops.square(centred)) + epsilon)
    return centred * scale, scale


def _standardize_gradient(slope: Array, y: Array, scale: Array) -> Array:
    return (slope - mean_over_space(slope) - y * mean_over_space(slope * y)) * scale


def _batch_normalize_tensorflow(
    x: Array, gamma: Array, beta: Array, epsilon: float
) -> tuple[Array, Array, Array]:
    shape = tf.shape(x)
    planes = tf.reshape(x, (-1, shape[2], shape[3], x.shape[-1]))
    if tf.config.list_physical_devices("GPU"):
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=planes, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon
        )
        count = tf.cast(tf.size(planes) // x.shape[-1], tf.float32)
        return tf.reshape(y, shape), mean, variance * (count - 1) / count

    @tf.custom_gradient
    def normalize(planes: Array, gamma: Array, beta: Array) -> tuple[Any, Function]:
        wide = tf.cast(planes, tf.float32)
        mean = _mean_by_axis_tensorflow(wide)
        variance = _mean_by_axis_tensorflow(tf.square(wide - mean))
        scale = gamma * tf.math.rsqrt(variance + epsilon)
        y = tf.cast(wide * scale + (beta - mean * scale), planes.dtype)

        def gradient(slope: Array, *_: Array) -> tuple[Array, Array, Array]:
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


def _mean_by_axis_tensorflow(x: Array) -> Array:
    for axis in (2, 1, 0):
        x = tf.reduce_mean(x, axis)
    return x


if NAME == "torch":

    class _BatchNormalize(torch.autograd.Function):
        """The shifted two-moment formula forward, torch's own kernel backward."""

        @staticmethod
        def forward(
            ctx: Any, x: Array, gamma: Array, beta: Array, epsilon: float
        ) -> tuple[Array, Array, Array]:
            rows = x.reshape(-1, x.shape[-1])
            wide = rows.float()
            shift = wide[:: max(1, len(rows) // 512)].mean(0)
            centred = wide - shift
            offset = centred.mean(0)
            variance = (centred.square_().mean(0) - offset * offset).clamp_min_(0)
            mean, scale = shift + offset, torch.rsqrt(variance + epsilon)
            y = torch.addcmul(beta - mean * gamma * scale, rows, gamma * scale).to(x.dtype)
            ctx.save_for_backward(x, gamma, mean, scale)
            ctx.epsilon = epsilon
            ctx.mark_non_differentiable(mean, variance)
            return y.reshape(x.shape), mean, variance

        @staticmethod
        def backward(ctx: Any, slope: Array, *_: Array) -> tuple[Array | None, ...]:
            x, gamma, mean, scale = ctx.saved_tensors
            first = (t.permute(0, 4, 1, 2, 3) for t in (slope.contiguous(), x))
            of_x, of_gamma, of_beta = torch.ops.aten.native_batch_norm_backward(
                *first, gamma, None, None, mean, scale, True, ctx.epsilon, [True] * 3
            )
            return of_x.permute(0, 2, 3, 4, 1), of_gamma, of_beta, None

    class _Standardize(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Array, epsilon: float) -> Array:
            y, scale = _standardize(x, epsilon)
            ctx.save_for_backward(y, scale)
            return y

        @staticmethod
        def backward(ctx: Any, slope: Array) -> tuple[Array, None]:
            return _standardize_gradient(slope, *ctx.saved_tensors), None
