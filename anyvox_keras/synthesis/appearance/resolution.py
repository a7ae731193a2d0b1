"""Effects of limited resolution: blur, sharpening, coarse voxels, thick slices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.errors import one_of
from anyvox_keras.export import export
from anyvox_keras.synthesis.appearance.effect import Effect, spread
from anyvox_keras.types import Array, BlurKernel

_INVERSE_ROOT_TWO = 0.70710678


def apply_matrices(x: Array, matrices: Sequence[Array | None]) -> Array:
    """Multiply each spatial axis of `(B, D, H, W, C)` by its matrix `(B, m, n)`; None leaves it.

    Matrix products run at full speed on every backend whatever the number of taps, and one
    operator holds for all samples, each with its own strength; the identity is exact.

    Args:
        x: `(B, D, H, W, C)` float32.
        matrices: One for D, one for H, one for W.

    Returns:
        `(B, d, h, w, C)`.
    """
    plane, row, line = matrices
    depth, height, width, channels = x.shape[1:]
    y = x
    if line is not None and channels == 1:
        y = ops.matmul(ops.reshape(x, (-1, depth * height, width)), ops.swapaxes(line, -1, -2))
    elif line is not None:
        y = ops.matmul(line[:, None, None], x)
    last = width if line is None else line.shape[-2]
    if row is not None:
        y = ops.matmul(row[:, None], ops.reshape(y, (-1, depth, height, last * channels)))
        height = row.shape[-2]
    if plane is not None:
        y = ops.matmul(plane, ops.reshape(y, (-1, depth, height * last * channels)))
        depth = plane.shape[-2]
    return ops.reshape(y, (-1, depth, height, last, channels))


def erf_kernel_matrix(sigma: Array, side: int, truncate: float = 4.0) -> Array:
    """Make `(B, side, side)` matrices of MONAI's Gaussian: the bell averaged over each voxel.

    Taps are `erf((d + 1/2) / (sigma sqrt 2)) - erf((d - 1/2) / (sigma sqrt 2))` over 2, for
    distances up to `int(max(sigma truncate, 1/2) + 1/2)`, not normalised; zeros outside the grid.
    """
    sigma = ops.reshape(sigma, (-1, 1, 1))
    index = ops.arange(side, dtype="float32")
    distance = ops.abs(index[:, None] - index)
    inverse = _INVERSE_ROOT_TWO / ops.maximum(sigma, 1e-6)
    taps = 0.5 * (ops.erf(inverse * (distance + 0.5)) - ops.erf(inverse * (distance - 0.5)))
    tail = ops.floor(ops.maximum(sigma * truncate, 0.5) + 0.5)
    return ops.where(ops.less_equal(distance, tail), taps, 0.0)


def sampled_kernel_matrix(sigma: Array, side: int, truncate: float = 4.0) -> Array:
    """Make `(B, side, side)` matrices of scipy's Gaussian, mirrored with the edge voxel repeated.

    Taps are `exp(-d^2 / 2 sigma^2)` up to `int(truncate sigma + 1/2)`, normalised. One reflection
    per face is counted, which is exact for radii up to the side.
    """
    sigma = ops.reshape(sigma, (-1, 1, 1))
    index = ops.arange(side, dtype="float32")
    direct = ops.abs(index[:, None] - index)
    low, high = index[:, None] + index + 1, 2 * side - 1 - index[:, None] - index
    taps = sum(_bell(distance, sigma, truncate) for distance in (direct, low, high))
    return taps / ops.sum(taps, axis=2, keepdims=True)


def circulant_matrix(weights: Array) -> Array:
    """Make the `(B, S, S)` matrix that multiplies a spectrum along one axis by real weights.

    The weights `(B, S)` belong to the frequencies in FFT order. Of the result the real part is
    taken, so that no transform is needed: the matrix is that of a circular convolution.
    """
    side = weights.shape[-1]
    index = np.arange(side)
    cosines = np.cos(2 * np.pi / side * (index[:, None] * index % side)) / side
    row = ops.matmul(weights, cosines.astype("float32"))
    return ops.take(row, ((index[:, None] - index) % side).astype("int32"), axis=1)


def along_axis(matrices: Sequence[Array], axis: Array, shape: Sequence[int]) -> list[Array]:
    """Place matrices `(B, S, S)`, one per axis, on the drawn axis (B,), identity on the others.

    Args:
        matrices: Three, one per axis.
        axis: `(B,)` int32 in [0, 3).
        shape: `(D, H, W)`.
    """
    return [
        ops.where(ops.reshape(ops.equal(axis, a), (-1, 1, 1)), own, np.eye(side, dtype="float32"))
        for a, (own, side) in enumerate(zip(matrices, shape, strict=True))
    ]


KERNELS = {"erf": erf_kernel_matrix, "sampled": sampled_kernel_matrix}


def blur(x: Array, sigma: Array, kernel: BlurKernel = "erf") -> Array:
    """Smooth `(B, D, H, W, C)` with one sigma per sample and axis, `(B, 3)`."""
    make, sides = KERNELS[kernel], x.shape[1:4]
    return apply_matrices(x, [make(sigma[:, a], sides[a]) for a in range(3)])


def _bell(distance: np.ndarray, sigma: Array, truncate: float) -> Array:
    inverse = 1.0 / ops.maximum(sigma, 1e-6)
    radius = ops.floor(truncate * sigma + 0.5)
    bell = ops.exp(-0.5 * ops.square(inverse * distance))
    return ops.where(ops.less_equal(distance, radius), bell, 0.0)


@export
class GaussianBlur(Effect):
    """Smooth with a Gaussian.

    Args:
        sigma: Range of the standard deviation in voxels, drawn per sample and axis.
        kernel: "erf": the bell averaged over each voxel, zeros outside (MONAI's `GaussianSmooth`);
            "sampled": the normalised bell, mirrored at the faces (scipy, TorchIO's `Blur`).
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If `sigma` may be negative or `kernel` is unknown.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import GaussianBlur

        image = GaussianBlur(sigma=(0, 1))(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def __init__(
        self,
        sigma: random.RangeLike = (0.0, 0.333),
        kernel: BlurKernel = "erf",
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        self.sigma = random.Range(sigma, "sigma", minimum=0)
        one_of("kernel", kernel, BlurKernel)
        self.kernel = kernel

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`sigma` (B, 3)."""
        return {"sigma": random.ranged(self.sigma, 3)}

    def change(self, x: Array, params: random.Params) -> Array:
        """Smooth."""
        return blur(x, params["sigma"], self.kernel)

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("sigma", "kernel")


@export
class Sharpen(Effect):
    """Make `b + a (b - G(b, s2))` of the smoothed image `b = G(x, s1)` (MONAI's `GaussianSharpen`).

    Args:
        sigma: Range of s1 in voxels, drawn per sample and axis. s2 is U(low, s1).
        alpha: Range of a, drawn per sample.
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If `sigma` or `alpha` may be negative.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import Sharpen

        image = Sharpen()(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def __init__(
        self,
        sigma: random.RangeLike = (0.5, 1.0),
        alpha: random.RangeLike = (10.0, 30.0),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        self.sigma = random.Range(sigma, "sigma", minimum=0)
        self.alpha = random.Range(alpha, "alpha", minimum=0)

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`sigma1`, `sigma2` (B, 3) and `alpha` (B,)."""
        unit = random.Draw("uniform", (3,))
        return {
            "sigma1": random.ranged(self.sigma, 3),
            "sigma2": unit,
            "alpha": random.ranged(self.alpha),
        }

    def finish(self, drawn: random.Params, shape: Sequence[int]) -> random.Params:
        """Place s2 between the range's low end and s1."""
        low = self.sigma.low
        return {**drawn, "sigma2": low + drawn["sigma2"] * (drawn["sigma1"] - low)}

    def change(self, x: Array, params: random.Params) -> Array:
        """Sharpen."""
        smooth = blur(x, params["sigma1"])
        return smooth + spread(params["alpha"]) * (smooth - blur(smooth, params["sigma2"]))

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("sigma", "alpha")


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
        return {"zoom": random.ranged(self.zoom)}

    def change(self, x: Array, params: random.Params) -> Array:
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
        return {"axis": random.integer(0, 3), "thickness": random.ranged(self.thickness)}

    def change(self, x: Array, params: random.Params) -> Array:
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
