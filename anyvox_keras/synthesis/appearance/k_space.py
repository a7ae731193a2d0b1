"""Artefacts made in the spectrum: ringing and spikes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import fft3, ifft3
from anyvox_keras.export import export
from anyvox_keras.random.random_layer import Params, integer, ranged
from anyvox_keras.synthesis.appearance.effect import Effect, spread
from anyvox_keras.types import Array

#: The spike's log-magnitude, in means of the log-spectrum (MONAI's default).
MEANS = 2.5


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
        return {"alpha": ranged(self.alpha)}

    def change(self, x: Array, params: Params) -> Array:
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
        return {"position": integer(0, sides, 3), "intensity": ranged(self.intensity)}

    def change(self, x: Array, params: Params) -> Array:
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
