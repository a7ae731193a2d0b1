"""Layers of the networks: convolutions that pad, pooling, upsampling, cropping."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from anyvox_keras.backend import conv3d, double, max_pool, reflect_pad
from anyvox_keras.errors import one_of
from anyvox_keras.export import export
from anyvox_keras.ops import pad, resize
from anyvox_keras.types import Array, Upsampling


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

    def call(self, inputs: Array) -> Array:
        """Convolve the padded input."""
        padded = self._pad(inputs, self.kernel_size // 2) if self.kernel_size > 1 else inputs
        outputs = conv3d(padded, ops.convert_to_tensor(self.kernel))
        return outputs if self.bias is None else outputs + self.bias

    def _pad(self, inputs: Array, width: int) -> Array:
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

    def _pad(self, inputs: Array, width: int) -> Array:
        return pad(inputs, ((width, width),) * 3, "zeros")


@export
class ReflectPadToMultiple(keras.layers.Layer):
    """Extend `(B, D, H, W, C)` by reflection, at the far end of each axis, to a fitting size.

    The new side is the least multiple of `multiple` that is at least `minimum`. Reflection does
    not repeat the border voxel and goes on to and fro where one mirror image is too short. Origin
    and voxel grid stay, so pooled grids remain aligned with the input.

    Args:
        multiple: The side's divisor, one number or one per axis.
        minimum: The least side, one number or one per axis.
    """

    def __init__(
        self, multiple: int | Sequence[int], minimum: int | Sequence[int] = 1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple
        self.minimum = minimum

    def call(self, inputs: Array) -> Array:
        """Gather mirrored planes along each axis that does not fit."""
        outputs = inputs
        for axis in (1, 2, 3):
            side = ops.shape(inputs)[axis]
            target = self._target(side, axis - 1)
            if not isinstance(side, int) or target != side:
                outputs = ops.take(outputs, _mirrored(side, target), axis=axis)
        return outputs

    def _target(self, side: Any, axis: int) -> Any:
        divisor, minimum = per_axis(self.multiple)[axis], per_axis(self.minimum)[axis]
        multiple = -(-side // divisor) * divisor
        least = -(-minimum // divisor) * divisor
        return max(multiple, least) if isinstance(side, int) else ops.maximum(multiple, least)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Round each known side up."""
        batch, *space, channels = input_shape
        sides = (None if n is None else self._target(n, axis) for axis, n in enumerate(space))
        return (batch, *sides, channels)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "multiple": self.multiple, "minimum": self.minimum}


def _mirrored(side: Any, target: Any) -> Array:
    """Numbers of the planes that an axis of `side` planes is extended to `target` by."""
    period = ops.maximum(2 * (side - 1), 1)
    phase = ops.arange(target, dtype="int32") % period
    return ops.minimum(phase, period - phase)


def per_axis(value: int | Sequence[int]) -> tuple[int, ...]:
    """Return one number for each of the three axes."""
    return (value,) * 3 if isinstance(value, int) else tuple(value)


@export
class CropLike(keras.layers.Layer):
    """Cut `(B, d, h, w, C)` to the voxels of a reference grid seen at a coarser stride.

    Call with `(x, reference)`, where `x` starts at the reference's origin and has one voxel for
    `stride` of the reference's. Each axis keeps `max(1, side // stride)` voxels.

    Args:
        stride: Reference voxels for one voxel of `x`, one number or one per axis.
    """

    def __init__(self, stride: int | Sequence[int] = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, inputs: Array, reference: Array) -> Array:
        """Slice off what padding added."""
        d, h, w = (self._kept(side, axis) for axis, side in enumerate(ops.shape(reference)[1:4]))
        static = all(isinstance(side, int) for side in (d, h, w))
        if static and (d, h, w) == tuple(ops.shape(inputs)[1:4]):
            return inputs
        return inputs[:, :d, :h, :w]

    def _kept(self, side: Any, axis: int) -> Any:
        kept = side // per_axis(self.stride)[axis]
        return max(1, kept) if isinstance(side, int) else ops.maximum(1, kept)

    def compute_output_shape(
        self, inputs_shape: Sequence[int | None], reference_shape: Sequence[int | None]
    ) -> tuple[int | None, ...]:
        """Give space by the reference, channels by the input."""
        sides = enumerate(reference_shape[1:4])
        space = (None if n is None else self._kept(n, axis) for axis, n in sides)
        return (inputs_shape[0], *space, inputs_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "stride": self.stride}


@export
class UpSample(keras.layers.Layer):
    """Double the sides of `(B, D, H, W, C)`.

    `nearest` repeats each voxel; `trilinear` interpolates between voxel centres (half-pixel, the
    border voxel repeated; PyTorch's `align_corners=False`), which at a factor of two is a weight of
    3/4 on the nearer and 1/4 on the further voxel along each axis. `corners`
    interpolates between grids whose corner voxels coincide (PyTorch's `align_corners=True`).

    Args:
        method: `"nearest"`, `"trilinear"` or `"corners"`.
        strides: 2 for each axis that is doubled, 1 for one that is not; None doubles all.

    Example:
        ```python
        y = UpSample(strides=(2, 2, 1))(np.zeros((1, 8, 8, 9, 4), "float32"))  # (1, 16, 16, 9, 4)
        ```
    """

    def __init__(
        self,
        method: Upsampling = "nearest",
        strides: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        one_of("method", method, Upsampling)
        self.method, self.strides = method, _checked_strides(strides)

    def call(self, inputs: Array) -> Array:
        """Double the axes of the strides."""
        strides = self.strides or (2, 2, 2)
        if self.method == "nearest":
            return double(inputs, strides)
        if self.method == "corners":
            sides = [s * side for s, side in zip(strides, inputs.shape[1:4], strict=True)]
            return resize(inputs, sides, align="corners")
        outputs = inputs
        for axis, stride in enumerate(strides, 1):
            outputs = _interpolate(outputs, axis) if stride == 2 else outputs
        return outputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Double the known sides of the axes."""
        batch, *space, channels = input_shape
        pairs = zip(space, self.strides or (2, 2, 2), strict=True)
        return (batch, *(None if n is None else s * n for n, s in pairs), channels)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "method": self.method, "strides": self.strides}


def _checked_strides(strides: Sequence[int] | None) -> tuple[int, ...] | None:
    if strides is None:
        return None
    if len(strides) != 3 or not set(strides) <= {1, 2}:
        raise ValueError(f"`strides` must be three of 1 and 2. Received: strides={strides}")
    return tuple(int(s) for s in strides)


def _interpolate(x: Array, axis: int) -> Array:
    def part(start: int | None, stop: int | None) -> Array:
        return x[(slice(None),) * axis + (slice(start, stop),)]

    before = ops.concatenate([part(None, 1), part(None, -1)], axis)
    after = ops.concatenate([part(1, None), part(-1, None)], axis)
    pair = ops.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
    shape = list(ops.shape(x))
    shape[axis] = 2 * shape[axis]
    return ops.reshape(pair, shape)


@export
class MaxPool(keras.layers.Layer):
    """Largest of each 2 x 2 x 2 voxels of `(B, D, H, W, C)`; an odd side's last plane is left out.

    Keras's own layer copies volumes to and fro on torch, which takes five times as long.

    Args:
        strides: 2 for each axis that is pooled, 1 for one that is not; None pools all.

    Example:
        ```python
        y = MaxPool()(np.zeros((1, 16, 16, 16, 4), "float32"))  # (1, 8, 8, 8, 4)
        ```
    """

    def __init__(self, strides: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.strides = _checked_strides(strides)

    def call(self, inputs: Array) -> Array:
        """Halve the axes of the strides."""
        return max_pool(inputs, self.strides or (2, 2, 2))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Halve the known sides of the axes."""
        batch, *space, channels = input_shape
        pairs = zip(space, self.strides or (2, 2, 2), strict=True)
        return (batch, *(None if n is None else n // s for n, s in pairs), channels)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "strides": self.strides}


@export
class AveragePool(keras.layers.AveragePooling3D):
    """Mean of each 2 x 2 x 2 voxels of `(B, D, H, W, C)`; an odd side's last plane is left out.

    It is computed in float32, since processors have no pooling of 16 bits under PyTorch.

    Args:
        pool_size: 2 for each axis that is pooled, 1 for one that is not.

    Example:
        ```python
        y = AveragePool()(np.zeros((1, 16, 16, 16, 4), "float32"))  # (1, 8, 8, 8, 4)
        ```
    """

    def __init__(self, pool_size: int | Sequence[int] = 2, **kwargs: Any) -> None:
        super().__init__(pool_size, **{"data_format": "channels_last", **kwargs})

    def call(self, inputs: Array) -> Array:
        """Halve the axes of the pool."""
        return ops.cast(super().call(ops.cast(inputs, "float32")), self.compute_dtype)
