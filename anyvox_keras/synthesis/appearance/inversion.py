"""Inverted intensities."""

from collections.abc import Sequence

from anyvox_keras import random
from anyvox_keras.backend import Array
from anyvox_keras.export import export
from anyvox_keras.random.random_layer import Params
from anyvox_keras.synthesis.appearance.effect import Effect
from anyvox_keras.synthesis.appearance.rescale import extremes


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

    def change(self, x: Array, params: Params) -> Array:
        """Invert."""
        low, extent = extremes(x)
        return (2.0 * low + extent) - x
