"""Cropping back to the grid before padding."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from anyvox_keras._export import export


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
