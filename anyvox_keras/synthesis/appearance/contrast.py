"""Gamma curves and inversion of grey values."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from anyvox_keras import random
from anyvox_keras.export import export
from anyvox_keras.synthesis.appearance.effect import Effect, extremes, spread
from anyvox_keras.types import Array


@export
class GammaContrast(Effect):
    """Raise the min-max normalised image to the power gamma; the range is restored.

    The law of MONAI's `AdjustContrast`.

    Args:
        gamma: Range of the exponent, drawn per sample; above 0.
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If gamma may be 0 or less.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import GammaContrast

        image = GammaContrast()(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def __init__(
        self,
        gamma: random.RangeLike = (0.5, 2.0),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        self.gamma = random.Range(gamma, "gamma", minimum=1e-3)

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`gamma` (B,)."""
        return {"gamma": random.ranged(self.gamma)}

    def change(self, x: Array, params: random.Params) -> Array:
        """Apply the gamma curve."""
        low, extent = extremes(x)
        unit = (x - low) / ops.where(extent > 0, extent, 1.0)
        # The slope of a power below 1 is infinite at 0: keep 0 out of it.
        positive = unit > 0
        bent = ops.power(ops.where(positive, unit, 1.0), spread(params["gamma"]))
        return ops.where(positive, bent, 0.0) * extent + low

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("gamma",)


@export
class LogGamma(Effect):
    """Raise `|x|` to the power `exp(g)` and keep the sign (TorchIO's `RandomGamma`).

    Args:
        log_gamma: Range of g, drawn per sample.
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import LogGamma

        image = LogGamma()(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def __init__(
        self,
        log_gamma: random.RangeLike = (-0.4, 0.4),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        self.log_gamma = random.Range(log_gamma, "log_gamma")

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`log_gamma` (B,)."""
        return {"log_gamma": random.ranged(self.log_gamma)}

    def change(self, x: Array, params: random.Params) -> Array:
        """Apply the gamma curve."""
        size = ops.abs(x)
        # The slope of a power below 1 is infinite at 0: keep 0 out of it.
        known = size > 0
        power = spread(ops.exp(params["log_gamma"]))
        bent = ops.power(ops.where(known, size, 1.0), power)
        return ops.where(known, ops.sign(x) * bent, 0.0)

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("log_gamma",)


@export
class Inversion(Effect):
    """Invert intensities within their range: `min + max - x`.

    Args:
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import Inversion

        image = Inversion()(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """Plan nothing: only whether the effect is active is drawn."""
        return {}

    def change(self, x: Array, params: random.Params) -> Array:
        """Invert."""
        low, extent = extremes(x)
        return (2.0 * low + extent) - x
