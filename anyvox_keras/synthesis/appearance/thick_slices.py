"""Slices thicker than the voxels."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import Array
from anyvox_keras.export import export
from anyvox_keras.random.random_layer import Params, integer, ranged
from anyvox_keras.synthesis.appearance.effect import Effect
from anyvox_keras.synthesis.appearance.separable import along_axis, apply_matrices


@export
class ThickSlices(Effect):
    """Average along one axis into thicker slices and interpolate back linearly.

    `round(S / thickness)` slices cover the axis; each is the mean of what it covers, voxels cut by
    its faces count by the fraction inside. Back on the grid, values are interpolated between the
    slices' centres.

    Args:
        thickness: Range of the slices' thickness in voxels, at least 1, drawn per sample, as is
            the axis.
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If `thickness` may be below 1.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import ThickSlices

        image = ThickSlices((2, 6))(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def __init__(
        self,
        thickness: random.RangeLike = (1.5, 5.0),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        self.thickness = random.Range(thickness, "thickness", minimum=1)

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`axis` (B,) int32 and `thickness` (B,)."""
        return {"axis": integer(0, 3), "thickness": ranged(self.thickness)}

    def change(self, x: Array, params: Params) -> Array:
        """Average and interpolate: one matrix."""
        shape = x.shape[1:4]
        matrices = [slice_matrix(params["thickness"], side) for side in shape]
        return apply_matrices(x, along_axis(matrices, params["axis"], shape))

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("thickness",)


def slice_matrix(thickness: Array, side: int) -> Array:
    """Make the `(B, side, side)` matrix of averaging into slices and interpolating back."""
    count = ops.maximum(ops.round(side / thickness), 1.0)[:, None, None]
    width = side / count
    index = ops.arange(side, dtype="float32")
    # Slices beyond the count cover nothing and are never read.
    start = index[None, :, None] * width
    overlap = ops.minimum(start + width, index + 1.0) - ops.maximum(start, index)
    average = ops.maximum(overlap, 0.0) / width
    position = (index[None, :, None] + 0.5) / width - 0.5
    position = ops.clip(position, 0.0, count - 1.0)
    weights = ops.maximum(1.0 - ops.abs(position - index), 0.0)
    return ops.matmul(weights, average)
