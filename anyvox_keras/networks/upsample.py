"""Doubling of a volume's sides."""

from typing import Any

import keras
from keras import ops

from anyvox_keras.backend import double
from anyvox_keras.export import export
from anyvox_keras.ops import resize

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
