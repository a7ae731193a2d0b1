"""Padding to a size that the network can halve."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from anyvox_keras.export import export


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
