"""Doubling of a volume's sides."""

from typing import Any

import keras
from keras import ops

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
            return _repeat(inputs)
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


def _repeat(x: Any) -> Any:
    # Each axis a rank-4 broadcast, from the innermost: TensorFlow broadcasts no more than rank 5.
    b, d, h, w, c = ops.shape(x)
    x = ops.broadcast_to(ops.reshape(x, (-1, w, 1, c)), (b * d * h, w, 2, c))
    x = ops.broadcast_to(ops.reshape(x, (-1, h, 1, 2 * w * c)), (b * d, h, 2, 2 * w * c))
    x = ops.broadcast_to(ops.reshape(x, (-1, d, 1, 4 * h * w * c)), (b, d, 2, 4 * h * w * c))
    return ops.reshape(x, (b, 2 * d, 2 * h, 2 * w, c))


def _interpolate(x: Any, axis: int) -> Any:
    def part(start: int | None, stop: int | None) -> Any:
        return x[(slice(None),) * axis + (slice(start, stop),)]

    before = ops.concatenate([part(None, 1), part(None, -1)], axis)
    after = ops.concatenate([part(1, None), part(-1, None)], axis)
    pair = ops.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
    shape = list(ops.shape(x))
    shape[axis] = 2 * shape[axis]
    return ops.reshape(pair, shape)
