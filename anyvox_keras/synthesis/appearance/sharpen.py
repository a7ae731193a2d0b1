"""Exaggerated edges."""

from collections.abc import Sequence
from typing import Any

from anyvox_keras import random
from anyvox_keras.backend import Array
from anyvox_keras.export import export
from anyvox_keras.random.random_layer import Params, ranged
from anyvox_keras.synthesis.appearance.effect import Effect, spread
from anyvox_keras.synthesis.appearance.separable import blur


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
        return {"sigma1": ranged(self.sigma, 3), "sigma2": unit, "alpha": ranged(self.alpha)}

    def finish(self, drawn: Params, shape: Sequence[int]) -> Params:
        """Place s2 between the range's low end and s1."""
        low = self.sigma.low
        return {**drawn, "sigma2": low + drawn["sigma2"] * (drawn["sigma1"] - low)}

    def change(self, x: Array, params: Params) -> Array:
        """Sharpen."""
        smooth = blur(x, params["sigma1"])
        return smooth + spread(params["alpha"]) * (smooth - blur(smooth, params["sigma2"]))

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("sigma", "alpha")
