"""Effects that arise in k-space: ringing, spikes, ghosts, motion."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import fft3, ifft3
from anyvox_keras.export import export
from anyvox_keras.ops import affine_grid, sample_linear
from anyvox_keras.random.smooth_noise import about_centre, rotation_matrix
from anyvox_keras.synthesis.appearance import resolution
from anyvox_keras.synthesis.appearance.effect import Effect, spread
from anyvox_keras.types import Array

#: The spike's log-magnitude, in means of the log-spectrum (MONAI's default).
MEANS = 2.5
#: Jitter of a movement's time, in distances between evenly spaced movements.
STRAY = 0.3


def spectrum(x: Array) -> tuple[Array, Array]:
    """Transform `(B, D, H, W, C)` to the real and imaginary part, `(B, C, D, H, W)`."""
    return fft3(ops.moveaxis(x, -1, 1))


def image(real: Array, imag: Array) -> Array:
    """Transform a spectrum `(B, C, D, H, W)` back and take the real part, `(B, D, H, W, C)`."""
    return ops.moveaxis(ifft3(real, imag)[0], 1, -1)


@export
class GibbsRinging(Effect):
    """Keep a ball of the shifted spectrum, radius `(1 - alpha) max(S) sqrt(2) / 2` (MONAI's law).

    The ball is centred at `(S - 1) / 2`, half a bin off the zero frequency of an even side; the
    real part of what remains is taken.

    Args:
        alpha: Range of the strength in [0, 1], drawn per sample.
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If alpha may leave [0, 1].

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import GibbsRinging

        image = GibbsRinging()(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def __init__(
        self,
        alpha: random.RangeLike = (0.0, 0.333),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        self.alpha = random.Range(alpha, "alpha", minimum=0)
        if self.alpha.high > 1:
            raise ValueError(f"`alpha` must be in [0, 1]. Received: alpha={alpha}")

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`alpha` (B,)."""
        return {"alpha": random.ranged(self.alpha)}

    def change(self, x: Array, params: random.Params) -> Array:
        """Cut the spectrum."""
        shape = x.shape[1:4]
        radius = (1.0 - params["alpha"]) * (max(shape) * math.sqrt(2) / 2)
        limit = ops.reshape(4.0 * radius * radius, (-1, 1, 1, 1))
        kept = ops.cast(_square_distance(shape) <= limit, "float32")[:, None]
        real, imag = spectrum(x)
        return image(real * kept, imag * kept)

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("alpha",)


def _square_distance(shape: Sequence[int]) -> Array:
    """Four times the squared distance of each bin (zero frequency first) from `(S - 1) / 2`."""
    total: Array = ops.zeros((), "float32")
    for axis, side in enumerate(shape):
        shifted = np.fft.ifftshift(2.0 * np.arange(side) - (side - 1))
        line = (shifted**2).astype("float32").reshape([-1 if a == axis else 1 for a in range(3)])
        total = total + ops.convert_to_tensor(line)
    return total


@export
class KSpaceSpike(Effect):
    """Replace the log-magnitude of one bin of the spectrum, keeping its phase.

    The new log-magnitude is `intensity x 2.5 x mean(log(|FFT| + 1e-10))`; the conjugate bin stays
    as it is and the real part is taken (MONAI's `KSpaceSpikeNoise`). By linearity this adds one
    plane wave, so only the mean of the log-spectrum needs a transform.

    Args:
        intensity: Range of the factor, drawn per sample.
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import KSpaceSpike

        image = KSpaceSpike()(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def __init__(
        self,
        intensity: random.RangeLike = (0.95, 1.10),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        self.intensity = random.Range(intensity, "intensity")

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`position` (B, 3) in the shifted spectrum and `intensity` (B,)."""
        sides = np.asarray(tuple(shape), "int32")
        return {"position": random.integer(0, sides, 3), "intensity": random.ranged(self.intensity)}

    def change(self, x: Array, params: random.Params) -> Array:
        """Add the wave to each channel."""
        voxels = math.prod(x.shape[1:4])
        cosine, sine = _wave(params["position"], x.shape[1:4])
        # The bin itself: the image against the conjugate wave.
        real = ops.sum(x * cosine, axis=(1, 2, 3), keepdims=True)
        imag = -ops.sum(x * sine, axis=(1, 2, 3), keepdims=True)
        magnitude = ops.sqrt(ops.square(real) + ops.square(imag))
        level = MEANS * _mean_log_magnitude(x) * spread(params["intensity"])
        known = magnitude > 0
        scale = (ops.exp(level) - magnitude) / ops.where(known, magnitude, 1.0) / voxels
        # A bin of zero has phase zero.
        extra_real = ops.where(known, real * scale, ops.exp(level) / voxels)
        extra_imag = ops.where(known, imag * scale, 0.0)
        return x + extra_real * cosine - extra_imag * sine

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("intensity",)


def _mean_log_magnitude(x: Array) -> Array:
    """Mean of `log(|FFT| + 1e-10)` over all bins, `(B, 1, 1, 1, C)`."""
    real, imag = spectrum(x)
    magnitude = ops.sqrt(ops.square(real) + ops.square(imag))
    mean = ops.mean(ops.log(magnitude + 1e-10), axis=(2, 3, 4))
    return mean[:, None, None, None, :]


def _wave(position: Array, shape: Sequence[int]) -> tuple[Array, Array]:
    """Cosine and sine of `2 pi k r / S` on the grid, `(B, D, H, W, 1)`."""
    turns = []
    for axis, side in enumerate(shape):
        frequency = position[:, axis, None] - side // 2
        # Whole turns are dropped as integers: sines of large angles lose digits.
        phase = ops.mod(frequency * ops.arange(side, dtype="int32"), side)
        angle = ops.cast(phase, "float32") * (2 * math.pi / side)
        turns.append((ops.cos(angle), ops.sin(angle)))
    (c0, s0), (c1, s1), (c2, s2) = turns
    cosine, sine = _turned((c0[:, :, None], s0[:, :, None]), (c1[:, None], s1[:, None]))
    line = (c2[:, None, None], s2[:, None, None])
    cosine, sine = _turned((cosine[..., None], sine[..., None]), line)
    return cosine[..., None], sine[..., None]


def _turned(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    """Multiply complex numbers."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


@export
class Motion(Effect):
    """Fill parts of k-space from images at other poses (Shaw et al., TorchIO's `RandomMotion`).

    The planes of the shifted spectrum along the last axis are taken in turn at the first pose, and
    after each movement at the next; the pose held at half time is the image as it is. Poses are
    rotations about the centre and translations; what comes from outside is the image's minimum.
    Selecting frequencies of one axis is a convolution along it: no Fourier transform is needed.

    TorchIO rotates about the corner of the image; here rotations are about its centre.

    Args:
        movements: Number of movements.
        degrees: Range of the angles, drawn per sample, movement and axis.
        translation: Range of the shifts in voxels, likewise.
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If `movements` is below 1.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import Motion

        image = Motion()(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def __init__(
        self,
        movements: int = 2,
        degrees: random.RangeLike = (-10.0, 10.0),
        translation: random.RangeLike = (-10.0, 10.0),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        if movements < 1:
            raise ValueError(f"`movements` must be >= 1. Received: movements={movements}")
        self.movements = int(movements)
        self.degrees = random.Range(degrees, "degrees")
        self.translation = random.Range(translation, "translation")

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`degrees`, `translation` (B, movements, 3) and `times` (B, movements) in (0, 1)."""
        n, step = self.movements, 1 / (self.movements + 1)
        return {
            "degrees": random.ranged(self.degrees, n, 3),
            "translation": random.ranged(self.translation, n, 3),
            "times": random.Draw("uniform", (n,), -STRAY * step, STRAY * step),
        }

    def finish(self, drawn: random.Params, shape: Sequence[int]) -> random.Params:
        """Distribute the movements over the scan."""
        even = ops.arange(1, self.movements + 1, dtype="float32") / (self.movements + 1)
        return {**drawn, "times": drawn["times"] + even}

    def change(self, x: Array, params: random.Params) -> Array:
        """Add what each other pose contributes."""
        low = ops.min(x, axis=(1, 2, 3, 4), keepdims=True)
        masks = _parts(params["times"], x.shape[3])
        rotations = rotation_matrix(params["degrees"])
        total = x
        for movement in range(self.movements):
            pose = about_centre(rotations[:, movement], x.shape[1:4])
            shift = params["translation"][:, movement, :, None]
            pose = ops.concatenate([pose[..., :3], pose[..., 3:] + shift], axis=-1)
            moved = sample_linear(x - low, affine_grid(pose, x.shape[1:4])) + low
            total = total + _along_last(masks[movement + 1], moved - x)
        return total

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("movements", "degrees", "translation")


def _parts(times: Array, side: int) -> list[Array]:
    """For each pose (first the image itself) the weight (B, S) of each frequency, in FFT order."""
    movements = times.shape[1]
    plane = ops.convert_to_tensor(np.fft.ifftshift(np.arange(side)).astype("float32"))
    ends = ops.floor(times * side)[..., None]
    part = ops.sum(ops.cast(plane >= ends, "int32"), axis=1)
    middle = ops.sum(ops.cast(times <= 0.5, "int32"), axis=1)[:, None]
    # The first pose and the one at half time are exchanged.
    pose = ops.where(part == 0, middle, ops.where(part == middle, 0, part))
    return [ops.cast(pose == index, "float32") for index in range(movements + 1)]


def _along_last(weights: Array, x: Array) -> Array:
    return resolution.apply_matrices(x, [None, None, resolution.circulant_matrix(weights)])


@export
class Ghosting(Effect):
    """Weaken every n-th plane of the spectrum along one axis (TorchIO's `Ghosting`).

    Planes 0, n, 2n, ... of the shifted spectrum are multiplied by `1 - intensity`; the central one
    is kept and the real part is taken. Scaling planes of one axis is a convolution along it,
    so no Fourier transform is needed.

    Args:
        ghosts: `(low, high)`: n is an integer in [low, high], drawn per sample, as is the axis.
        intensity: Range of the strength in [0, 1].
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If a range is out of bounds.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import Ghosting

        image = Ghosting()(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def __init__(
        self,
        ghosts: Sequence[int] = (4, 10),
        intensity: random.RangeLike = (0.5, 1.0),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        if len(ghosts) != 2 or not 1 <= ghosts[0] <= ghosts[1]:
            raise ValueError(f"`ghosts` must be (low, high), 1 <= low <= high. Received: {ghosts}")
        self.ghosts = (int(ghosts[0]), int(ghosts[1]))
        self.intensity = random.Range(intensity, "intensity", minimum=0)

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`axis`, `ghosts` (B,) int32 and `intensity` (B,)."""
        low, high = self.ghosts
        return {
            "axis": random.integer(0, 3),
            "ghosts": random.integer(low, high + 1),
            "intensity": random.ranged(self.intensity),
        }

    def change(self, x: Array, params: random.Params) -> Array:
        """Weaken the planes."""
        ghosts, weaker = params["ghosts"][:, None], 1.0 - params["intensity"][:, None]
        matrices = []
        for side in x.shape[1:4]:
            plane = np.fft.ifftshift(np.arange(side)).astype("int32")
            hit = ops.equal(ops.mod(ops.convert_to_tensor(plane)[None], ghosts), 0)
            hit = ops.logical_and(hit, plane != side // 2)
            matrices.append(resolution.circulant_matrix(ops.where(hit, weaker, 1.0)))
        return resolution.apply_matrices(
            x, resolution.along_axis(matrices, params["axis"], x.shape[1:4])
        )

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("ghosts", "intensity")
