"""The backend's functions on PyTorch."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from keras import ops
from torch import Tensor

from anyvox_keras.backend.arrays import one_replica, same
from anyvox_keras.backend.device import cpu_has_bfloat16
from anyvox_keras.backend.torch_program import TorchProgram
from anyvox_keras.types import Function

replicas, reducible = one_replica, same

# channels from which sums of rows are faster than torch's sampling, measured
_BAGGED = 8


def compiled(fn: Function) -> Function:
    """Compile a pure function of arrays by inductor, on a GPU.

    On a CPU it stays eager: inductor takes about a minute to compile one volume's synthesis.
    Static settings are bound before (`functools.partial`) and the result is kept, since each call
    of this function starts an empty compilation cache.
    """
    return torch.compile(fn, dynamic=False) if torch.cuda.is_available() else fn


def recorded(fn: Function) -> Function:
    """Do what `compiled` does, as a single graph.

    For functions whose control flow depends on shapes only; they are traced once by `make_fx`,
    since Dynamo breaks the graph at every NumPy constant, into hundreds of pieces.
    """
    return TorchProgram(fn, torch._inductor.compile) if torch.cuda.is_available() else fn


def traced_once(fn: Function) -> Function:
    """Return `fn`: PyTorch computes what it calls."""
    return fn


def recorded_over_samples(fn: Function, like: Any) -> Function:
    """Make `program(batch, *shared)` of a function `fn(sample, *shared)`, see `map_samples`.

    The graph is that of one sample: a loop over samples would be written out in it.
    """
    program = recorded(fn)
    return lambda batch, *shared: map_samples(lambda one: program(one, *shared), batch, like)


def repeat(count: int, body: Function, state: Any) -> Any:
    """Apply `body(number, state)` for Python numbers 0..count-1, at no extra cost."""
    for number in range(count):
        state = body(number, state)
    return state


def map_samples(fn: Function, batch: Any, like: Any) -> Any:
    """Apply a function to one sample after another and stack what it returns.

    A sample is then computed the same way, to the last bit, in a batch of any size.

    Args:
        fn: Function of one sample: the structure of `batch` without the leading axis.
        batch: Structure of arrays with a leading batch axis.
        like: Shapes of what `fn` returns, which torch does not ask for.
    """
    return ops.map(fn, batch)


def value_and_gradient(fn: Function) -> Function:
    """Turn scalar `fn(x, *rest)` into a function that returns `(value, d value / d x)`."""

    def value_and_gradient_of(x: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            value = fn(x, *rest)
            (gradient,) = torch.autograd.grad(value, x)
        return value.detach(), gradient

    return value_and_gradient_of


def no_gradient() -> Any:
    """Record no graph."""
    return torch.no_grad()


def conv3d(x: Tensor, kernel: Tensor, strides: int = 1) -> Tensor:
    """Convolve `(B, D, H, W, C)` with `(kd, kh, kw, C, F)`, without padding ("valid").

    A permuted view of channels-last memory is torch's own channels_last_3d: nothing is copied.
    """
    weight = kernel.permute(4, 3, 0, 1, 2).contiguous(memory_format=torch.channels_last_3d)
    y = torch.nn.functional.conv3d(x.permute(0, 4, 1, 2, 3), weight, stride=strides)
    return y.permute(0, 2, 3, 4, 1)


def grid_sample(x: Tensor, coordinates: Tensor) -> Tensor | None:
    """Trilinear sampling with zeros outside by torch's own kernels."""
    constant = not (torch.is_grad_enabled() and x.requires_grad)
    if constant and x.shape[-1] >= _BAGGED and x.dtype == torch.float32 and is_eager_on_cpu(x):
        return _bagged_sample(x, coordinates)
    size = torch.tensor(x.shape[1:4], dtype=torch.float32, device=x.device)
    normalised = ((2 * coordinates + 1) / size - 1).flip(-1)
    y = torch.nn.functional.grid_sample(
        x.permute(0, 4, 1, 2, 3), normalised.to(x.dtype), align_corners=False
    )
    return y.permute(0, 2, 3, 4, 1)


def _bagged_sample(x: Tensor, coordinates: Tensor) -> Tensor:
    """Sample as sums of eight rows, the corners' channels, by their shares.

    `grid_sample` reads each channel of each corner on its own, in one thread.
    """
    sides, channels = x.shape[1:4], x.shape[-1]
    rows = torch.nn.functional.pad(x, (0, 0, 1, 1, 1, 1, 1, 1))
    corner = torch.arange(x.shape[0], dtype=torch.int32)[:, None, None, None]
    shares = [torch.ones((), dtype=x.dtype)]
    over, on = (sides[1] + 2) * (sides[2] + 2), sides[2] + 2
    steps = [i * over + j * on + k for i, j, k in itertools.product((0, 1), repeat=3)]
    for along, side in zip(coordinates.unbind(-1), sides, strict=True):
        along = along.clamp(-1, side)
        low = along.detach().floor().clamp(max=side - 1)
        # a coordinate that is not a number keeps that in its share
        corner = corner * (side + 2) + (low.nan_to_num().to(torch.int32) + 1)
        shares = [share * part for share in shares for part in (1 - (along - low), along - low)]
    y = torch.nn.functional.embedding_bag(
        corner.reshape(-1, 1) + torch.tensor(steps, dtype=torch.int32),
        rows.reshape(-1, channels),
        per_sample_weights=torch.stack(shares, dim=-1).reshape(-1, 8),
        mode="sum",
    )
    return y.reshape(*coordinates.shape[:4], channels)


def fft3(real: Tensor, imag: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Fourier transform over the last three axes; returns the real and the imaginary part."""
    y = torch.fft.fftn(_complex(real, imag), dim=(-3, -2, -1))
    return y.real, y.imag


def ifft3(real: Tensor, imag: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of `fft3`, scaled by the number of voxels."""
    y = torch.fft.ifftn(_complex(real, imag), dim=(-3, -2, -1))
    return y.real, y.imag


def _complex(real: Tensor, imag: Tensor | None) -> Tensor:
    return torch.complex(real, ops.zeros_like(real) if imag is None else imag)


def is_eager_inference(x: Tensor) -> bool:
    """Return whether `x` is computed with at once and no gradient will be asked for.

    Only there does letting go of an array give memory back.
    """
    return not (torch.is_grad_enabled() or torch.compiler.is_compiling())


def is_eager_on_cpu(x: Tensor) -> bool:
    """Return whether values of `x` can be read for free: eager execution on a CPU.

    There, work that no value needs is skipped; elsewhere shapes and control flow are static.
    """
    if torch.compiler.is_compiling() or TorchProgram.recording:
        return False
    on_cpu: bool = x.device.type == "cpu"
    return on_cpu


def device_name() -> str:
    """Return the framework's name of the device that computes."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def has_bfloat16() -> bool:
    """Whether the device that computes has arithmetic for bfloat16."""
    if not torch.cuda.is_available():
        return cpu_has_bfloat16()
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def double(x: Tensor, strides: Sequence[int] = (2, 2, 2)) -> Tensor:
    """Repeat each voxel of `(B, D, H, W, C)` `strides` times along the axes of space."""
    first = x.permute(0, 4, 1, 2, 3)
    factors = tuple(float(s) for s in strides)
    y = torch.nn.functional.interpolate(first, scale_factor=factors, mode="nearest")
    return y.permute(0, 2, 3, 4, 1)


def max_pool(x: Tensor, strides: Sequence[int] = (2, 2, 2)) -> Tensor:
    """Largest of each block of `strides` voxels of `(B, D, H, W, C)`; odd planes are left out."""
    y = torch.nn.functional.max_pool3d(x.permute(0, 4, 1, 2, 3), tuple(strides))
    return y.permute(0, 2, 3, 4, 1)


def reflect_pad(x: Tensor, width: int = 1) -> Tensor:
    """Mirror `(B, D, H, W, C)` about its border voxels.

    PyTorch pads rank 5 in channels-first order only; the permuted view leaves memory as it is.
    """
    y = torch.nn.functional.pad(x.permute(0, 4, 1, 2, 3), (width,) * 6, mode="reflect")
    return y.permute(0, 2, 3, 4, 1)


def batch_normalize(
    x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise channels by the statistics of all else; returns `(y, mean, biased variance)`.

    The native gradient takes a third of the time of the written-out formula. The forward kernel
    adds millions of floats one by one on a CPU (a variance at 128^3 is off by 1e-3), so the sums
    are made here in stages. Statistics are float32 for any dtype.
    """
    y, mean, variance = _BatchNormalize.apply(x, gamma, beta, epsilon)
    return y, mean, variance


class _BatchNormalize(torch.autograd.Function):
    """The shifted two-moment formula forward, torch's own kernel backward."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
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
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, mean, scale = ctx.saved_tensors
        first = (t.permute(0, 4, 1, 2, 3) for t in (slope.contiguous(), x))
        of_x, of_gamma, of_beta = torch.ops.aten.native_batch_norm_backward(
            *first, gamma, None, None, mean, scale, True, ctx.epsilon, [True] * 3
        )
        return of_x.permute(0, 2, 3, 4, 1), of_gamma, of_beta, None


def standardize_over_space(x: Tensor, epsilon: float) -> Tensor:
    """`(x - mean) / sqrt(variance + epsilon)` over the space of `(B, D, H, W, C)`, in its dtype.

    Statistics are float32 for any dtype. Not by `ops.custom_gradient`: its closure and the output
    hold each other, which torch never frees.
    """
    return _Standardize.apply(x, epsilon)


class _Standardize(torch.autograd.Function):
    """The shifted two-moment formula; sums over voxels are products of matrices."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, epsilon: float) -> Tensor:
        rows = x.reshape(len(x), -1, x.shape[-1])
        count = rows.shape[1]
        # Narrow types have no digits that a large mean could cost float32 sums.
        centred = rows.float() if x.dtype != torch.float32 else rows - _rough_mean(rows)
        total, squares = _sums(centred, centred)
        offset = total / count
        variance = (squares / count - offset * offset).clamp_min_(0)
        scale = torch.rsqrt(variance + epsilon)
        y = torch.addcmul(-offset * scale, centred, scale, out=centred).to(x.dtype)
        ctx.save_for_backward(y, scale)
        return y.reshape(x.shape)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        y, scale = ctx.saved_tensors
        wide, own = slope.reshape(y.shape).float(), y.float()
        total, along = (each * scale / y.shape[1] for each in _sums(wide, own))
        of_x = torch.addcmul(-total, wide, scale).addcmul_(own, -along)
        return of_x.to(y.dtype).reshape(slope.shape), None


def _rough_mean(rows: Tensor) -> Tensor:
    return rows[:, :: max(1, rows.shape[1] // 512)].mean(1, keepdim=True)


def _sums(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over rows of `a` and of `a * b`, `(B, 1, C)` of `(B, N, C)` float32.

    Products of matrices read them once, at a fraction of the time of torch's own sums, and add in
    blocks. The products of different channels come for free and are left.
    """
    ones = torch.ones((len(a), 1, a.shape[1]), dtype=a.dtype, device=a.device)
    products = torch.bmm(a.transpose(1, 2), b)
    return torch.bmm(ones, a), torch.diagonal(products, dim1=1, dim2=2)[:, None]
