"""Lower resolution, in all axes or in thick slices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.export import export
from anyvox_keras.random.random_layer import Params, integer, ranged
from anyvox_keras.synthesis.appearance.blur import along_axis, apply_matrices
from anyvox_keras.synthesis.appearance.effect import Effect
from anyvox_keras.types import Array


@export
class LowResolution(Effect):
    """Resample to `round(zoom S)` voxels per axis by nearest, and back linearly.

    The law of MONAI's `RandSimulateLowResolution`, both ways with half-voxel-correct coordinates;
    MONAI's own default for the first shifts the image by up to half a voxel.

    Args:
        zoom: Range of the factor in (0, 1], drawn per sample, the same for all axes.
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If zoom may leave (0, 1].

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import LowResolution

        image = LowResolution()(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def __init__(
        self,
        zoom: random.RangeLike = (0.5, 1.0),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        self.zoom = random.Range(zoom, "zoom", minimum=1e-3)
        if self.zoom.high > 1:
            raise ValueError(f"`zoom` must be in (0, 1]. Received: zoom={zoom}")

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`zoom` (B,)."""
        return {"zoom": ranged(self.zoom)}

    def change(self, x: Array, params: Params) -> Array:
        """Resample down and up: one matrix per axis."""
        sides = x.shape[1:4]
        coarse = [ops.maximum(ops.round(params["zoom"] * float(side)), 1.0) for side in sides]
        matrices = [
            down_and_up_matrix(ops.cast(size, "int32"), side)
            for size, side in zip(coarse, sides, strict=True)
        ]
        return apply_matrices(x, matrices)

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("zoom",)


def down_and_up_matrix(size: Array, side: int) -> Array:
    """Make the `(B, side, side)` matrix of nearest to `size` (B,) int32 voxels and linear back.

    Coordinates are ratios of integers, so that no rounding depends on the backend.
    """
    size = ops.reshape(size, (-1, 1))
    # Output voxel i lies at ((2 i + 1) size - side) / (2 side) of the coarse grid.
    odd = ops.convert_to_tensor(2 * np.arange(side) + 1, "int32")
    position = odd * size - side
    position = ops.maximum(position, 0)
    low = ops.minimum(ops.floor_divide(position, 2 * side), size - 1)
    weight = ops.cast(position - low * (2 * side), "float32") / (2.0 * side)
    high = ops.minimum(low + 1, size - 1)
    start, end = (_one_hot(_source(index, size, side), side) for index in (low, high))
    weight = weight[..., None]
    return (1.0 - weight) * start + weight * end


def _source(coarse: Array, size: Array, side: int) -> Array:
    """Voxel of the fine grid nearest to the centre of a coarse one."""
    return ops.floor_divide((2 * coarse + 1) * side, 2 * size)


def _one_hot(index: Array, side: int) -> Array:
    return ops.cast(ops.equal(index[..., None], np.arange(side, dtype="int32")), "float32")


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
