"""A 3D convolution that mirrors its input at the border."""

import math
import secrets
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras.backend import (
    batch_normalize,
    conv3d,
    double,
    reflect_pad,
    standardize_over_space,
)
from anyvox_keras.export import export
from anyvox_keras.ops import pad, resize


@export
class ReflectConv3D(keras.layers.Layer):
    """Cubic convolution, stride 1, whose input is padded by reflection (border voxel not repeated).

    Shape `(B, D, H, W, C)` to `(B, D, H, W, filters)`; each side must exceed `kernel_size // 2`.

    Args:
        filters: Output channels.
        kernel_size: Odd side of the kernel, in voxels.
        use_bias: Whether to add a bias.
        kernel_initializer: A Keras initializer.

    Example:
        ```python
        y = ReflectConv3D(8)(np.zeros((1, 16, 16, 16, 1), "float32"))  # (1, 16, 16, 16, 8)
        ```
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        use_bias: bool = False,
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd. Received: kernel_size={kernel_size}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the kernel `(k, k, k, C, filters)` and the bias."""
        shape = (self.kernel_size,) * 3 + (input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight((self.filters,), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """Convolve the padded input."""
        padded = self._pad(inputs, self.kernel_size // 2) if self.kernel_size > 1 else inputs
        outputs = conv3d(padded, ops.convert_to_tensor(self.kernel))
        return outputs if self.bias is None else outputs + self.bias

    def _pad(self, inputs: Any, width: int) -> Any:
        return reflect_pad(inputs, width)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Keep space, replace channels."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@export
class ZeroConv3D(ReflectConv3D):
    """As `ReflectConv3D`, but padded with zeros: VoxelMorph's convolution.

    Example:
        ```python
        y = ZeroConv3D(8, use_bias=True)(np.zeros((1, 16, 16, 16, 1), "float32"))
        ```
    """

    def _pad(self, inputs: Any, width: int) -> Any:
        return pad(inputs, ((width, width),) * 3, "zeros")


@export
class ReflectPadToMultiple(keras.layers.Layer):
    """Extend `(B, D, H, W, C)` by reflection, at the far end of each axis, to a fitting size.

    The new side is the least multiple of `multiple` that is at least `minimum`. Reflection does
    not repeat the border voxel and goes on to and fro where one mirror image is too short. Origin
    and voxel grid stay, so pooled grids remain aligned with the input.

    Args:
        multiple: The side's divisor.
        minimum: The least side.
    """

    def __init__(self, multiple: int, minimum: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple
        self.minimum = minimum

    def call(self, inputs: Any) -> Any:
        """Gather mirrored planes along each axis that does not fit."""
        outputs = inputs
        for axis in (1, 2, 3):
            side = ops.shape(inputs)[axis]
            if not isinstance(side, int) or self._target(side) != side:
                outputs = ops.take(outputs, self._mirrored(side), axis=axis)
        return outputs

    def _target(self, side: Any) -> Any:
        multiple = -(-side // self.multiple) * self.multiple
        least = -(-self.minimum // self.multiple) * self.multiple
        return max(multiple, least) if isinstance(side, int) else ops.maximum(multiple, least)

    def _mirrored(self, side: Any) -> Any:
        period = ops.maximum(2 * (side - 1), 1)
        phase = ops.arange(self._target(side), dtype="int32") % period
        return ops.minimum(phase, period - phase)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Round each known side up."""
        batch, *space, channels = input_shape
        return (batch, *(None if n is None else self._target(n) for n in space), channels)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "multiple": self.multiple, "minimum": self.minimum}


@export
class CropLike(keras.layers.Layer):
    """Cut `(B, d, h, w, C)` to the voxels of a reference grid seen at a coarser stride.

    Call with `(x, reference)`, where `x` starts at the reference's origin and has one voxel for
    `stride` of the reference's. Each axis keeps `max(1, side // stride)` voxels.

    Args:
        stride: Reference voxels for one voxel of `x`.
    """

    def __init__(self, stride: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, inputs: Any, reference: Any) -> Any:
        """Slice off what padding added."""
        d, h, w = (self._kept(side) for side in ops.shape(reference)[1:4])
        static = all(isinstance(side, int) for side in (d, h, w))
        if static and (d, h, w) == tuple(ops.shape(inputs)[1:4]):
            return inputs
        return inputs[:, :d, :h, :w]

    def _kept(self, side: Any) -> Any:
        if isinstance(side, int):
            return max(1, side // self.stride)
        return ops.maximum(1, side // self.stride)

    def compute_output_shape(
        self, inputs_shape: Sequence[int | None], reference_shape: Sequence[int | None]
    ) -> tuple[int | None, ...]:
        """Give space by the reference, channels by the input."""
        space = (None if n is None else self._kept(n) for n in reference_shape[1:4])
        return (inputs_shape[0], *space, inputs_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "stride": self.stride}


METHODS = ("nearest", "trilinear", "corners")


@export
class UpSample(keras.layers.Layer):
    """Double each side of `(B, D, H, W, C)`.

    `nearest` repeats each voxel; `trilinear` interpolates between voxel centres (half-pixel, the
    border voxel repeated; PyTorch's `align_corners=False`), which at a factor of two is a weight of
    3/4 on the nearer and 1/4 on the further voxel along each axis. `corners`
    interpolates between grids whose corner voxels coincide (PyTorch's `align_corners=True`).

    Args:
        method: `"nearest"`, `"trilinear"` or `"corners"`.
    """

    def __init__(self, method: str = "nearest", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if method not in METHODS:
            known = ", ".join(METHODS)
            raise ValueError(f"`method` must be one of {known}. Received: method={method!r}")
        self.method = method

    def call(self, inputs: Any) -> Any:
        """Double the three spatial axes."""
        if self.method == "nearest":
            return double(inputs)
        if self.method == "corners":
            return resize(inputs, [2 * side for side in inputs.shape[1:4]], align="corners")
        outputs = inputs
        for axis in (1, 2, 3):
            outputs = _interpolate(outputs, axis)
        return outputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Double the known sides."""
        batch, *space, channels = input_shape
        return (batch, *(None if n is None else 2 * n for n in space), channels)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "method": self.method}


def _interpolate(x: Any, axis: int) -> Any:
    def part(start: int | None, stop: int | None) -> Any:
        return x[(slice(None),) * axis + (slice(start, stop),)]

    before = ops.concatenate([part(None, 1), part(None, -1)], axis)
    after = ops.concatenate([part(1, None), part(-1, None)], axis)
    pair = ops.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
    shape = list(ops.shape(x))
    shape[axis] = 2 * shape[axis]
    return ops.reshape(pair, shape)


@export
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation of `(B, D, H, W, C)` by PyTorch's law, several times faster in training.

    The moving variance gathers the *unbiased* batch variance, and the defaults are PyTorch's
    (momentum 0.9 in Keras's sense, epsilon 1e-5): the laws of published checkpoints.

    Args:
        momentum: Share of the old moving statistics that each step keeps.
        epsilon: Added to the variance.
        **kwargs: As `keras.layers.BatchNormalization`.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise by the batch in training, by the moving statistics otherwise."""
        if not (training and self.trainable) or mask is not None:
            outputs = super().call(inputs, training=training, mask=mask)
            return ops.cast(outputs, self.compute_dtype)
        gamma, beta = (ops.convert_to_tensor(w) for w in (self.gamma, self.beta))
        outputs, mean, variance = batch_normalize(inputs, gamma, beta, self.epsilon)
        count = ops.cast(math.prod(ops.shape(inputs)[:-1]), "float32")
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance * (count / ops.maximum(count - 1, 1)))
        return outputs

    def _follow(self, moving: Any, batch: Any) -> None:
        kept = ops.convert_to_tensor(moving) * self.momentum
        moving.assign(kept + ops.stop_gradient(batch) * (1 - self.momentum))


@export
class InstanceNorm(keras.layers.Layer):
    """`(x - mean) / sqrt(var + epsilon)` over the space of each sample and channel.

    Mean and variance are float32 for any dtype. No scale, no shift, no moving statistics; the same
    in training and inference.

    Args:
        epsilon: Added to the biased variance.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, inputs: Any) -> Any:
        """Normalise `(B, D, H, W, C)`."""
        return standardize_over_space(ops.cast(inputs, self.compute_dtype), self.epsilon)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Keep the shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


@export
class KaimingNormal(keras.initializers.Initializer):
    """He initialisation: normal with std `sqrt(2 / fan_in)`, not truncated (He et al., 2015).

    Drawn on the host from `seed` alone, so a seed gives the same weights on each backend.

    Args:
        seed: An integer or a sequence of them; None draws one.

    Example:
        ```python
        keras.layers.Dense(8, kernel_initializer=KaimingNormal(seed=0))
        ```
    """

    def __init__(self, seed: int | Sequence[int] | None = None) -> None:
        self.seed = secrets.randbits(31) if seed is None else seed

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Any:
        """Draw a kernel; the last axis of `shape` is the outputs, the others are the fan-in."""
        std = math.sqrt(2 / math.prod(shape[:-1]))
        draw = np.random.default_rng(self.seed).standard_normal(tuple(shape)) * std
        return ops.convert_to_tensor(draw.astype("float32"), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"seed": self.seed}


class _Around(keras.initializers.Initializer):
    """Normal with a small spread about `mean`, drawn on the host."""

    mean = 0.0

    def __init__(self, std: float, seed: int | Sequence[int] | None = None) -> None:
        self.std = std
        self.seed = secrets.randbits(31) if seed is None else seed

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Any:
        """Draw weights of the given shape."""
        draw = self.mean + self.std * np.random.default_rng(self.seed).standard_normal(tuple(shape))
        return ops.convert_to_tensor(draw.astype("float32"), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"std": self.std, "seed": self.seed}


@export
class AroundOne(_Around):
    """Normal with mean 1 and a small spread: the first scales of the UNet's batch norms.

    Args:
        std: Standard deviation.
        seed: An integer or a sequence of them; None draws one.
    """

    mean = 1.0

    def __init__(self, std: float = 0.02, seed: int | Sequence[int] | None = None) -> None:
        super().__init__(std, seed)


@export
class AroundZero(_Around):
    """Normal with mean 0 and a small spread: a flow that starts next to no displacement.

    Args:
        std: Standard deviation.
        seed: An integer or a sequence of them; None draws one.
    """

    def __init__(self, std: float = 1e-5, seed: int | Sequence[int] | None = None) -> None:
        super().__init__(std, seed)
