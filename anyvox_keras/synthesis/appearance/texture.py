"""Multiplicative multi-scale noise."""

from collections.abc import Sequence
from typing import Any

from anyvox_keras import random
from anyvox_keras.backend import Array
from anyvox_keras.export import export
from anyvox_keras.random.random_layer import Params, ranged
from anyvox_keras.random.smooth_noise import node_draws, upsample_sum
from anyvox_keras.synthesis.appearance.effect import Effect


@export
class Texture(Effect):
    """Multiply by `1 + strength n`, n a sum of smooth Gaussian noises of several scales.

    Drawn per sample: for each scale a std and normals on `ceil(S / scale)` nodes per axis,
    upsampled trilinearly (half-pixel). Any side works.

    Args:
        strength: Factor of the noise.
        scales: Distances between nodes in voxels, independent of the side.
        std: Range of the standard deviation of a scale.
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If a scale is not above 0.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import Texture

        image = Texture()(np.ones((1, 32, 32, 32, 1), "float32"))
        ```
    """

    rescaled = True

    def __init__(
        self,
        strength: float = 0.02,
        scales: Sequence[float] = (4, 8, 16, 32),
        std: random.RangeLike = (0.0, 5.0),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        if not scales or min(scales) <= 0:
            raise ValueError(f"`scales` must be > 0. Received: scales={scales}")
        self.strength, self.scales = float(strength), tuple(scales)
        self.std = random.Range(std, "std", minimum=0)

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """For each scale a std and the nodes."""
        named = {}
        for scale in self.scales:
            named[f"std_{scale:g}"] = ranged(self.std, 1, 1, 1)
            named[f"nodes_{scale:g}"] = node_draws(shape, scale)
        return named

    def finish(self, drawn: Params, shape: Sequence[int]) -> Params:
        """Scale the nodes: `nodes_<scale>` (B, d, h, w)."""
        active = {"active": drawn["active"]}
        return active | {
            f"nodes_{scale:g}": drawn[f"std_{scale:g}"] * drawn[f"nodes_{scale:g}"]
            for scale in self.scales
        }

    def change(self, x: Array, params: Params) -> Array:
        """Multiply by the field."""
        nodes = [self.strength * params[f"nodes_{scale:g}"] for scale in self.scales]
        return x * (1.0 + upsample_sum(nodes, x.shape[1:4]))[..., None]

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("strength", "scales", "std")
