"""Ringing at edges."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras._export import export
from anyvox_keras.ops._backend import Array
from anyvox_keras.random.keyed_layer import Params
from anyvox_keras.synthesis.appearance.effect import Effect
from anyvox_keras.synthesis.appearance.k_space import image, spectrum
from anyvox_keras.synthesis.planned_layer import ranged


@export
class GibbsRinging(Effect):
    """Keep a ball of the shifted spectrum, radius `(1 - alpha) max(S) sqrt(2) / 2` (MONAI's law).

    The ball is centred at `(S - 1) / 2`, half a bin off the zero frequency of an even side; the
    real part of what remains is taken.

    Args:
        alpha: Range of the strength in [0, 1], drawn per sample.
        probability: How likely a sample is changed.
        seed: Seed of the draws made without keys.

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
        """Names of the constructor arguments."""
        return ("alpha",)


def _square_distance(shape: Sequence[int]) -> Array:
    """Four times the squared distance of each bin (zero frequency first) from `(S - 1) / 2`."""
    total = 0.0
    for axis, side in enumerate(shape):
        shifted = np.fft.ifftshift(2.0 * np.arange(side) - (side - 1))
        line = (shifted**2).astype("float32").reshape([-1 if a == axis else 1 for a in range(3)])
        total = total + ops.convert_to_tensor(line)
    return total
