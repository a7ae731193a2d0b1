"""Smoothing by a random amount."""

from collections.abc import Sequence
from typing import Any

from anyvox_keras import random
from anyvox_keras.backend import Array
from anyvox_keras.export import export
from anyvox_keras.random.random_layer import Params, ranged
from anyvox_keras.synthesis.appearance.effect import Effect
from anyvox_keras.synthesis.appearance.separable import KERNELS, blur


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
        kernel: str = "erf",
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        self.sigma = random.Range(sigma, "sigma", minimum=0)
        if kernel not in KERNELS:
            raise ValueError(f"`kernel` must be one of {tuple(KERNELS)}. Received: kernel={kernel}")
        self.kernel = kernel

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`sigma` (B, 3)."""
        return {"sigma": ranged(self.sigma, 3)}

    def change(self, x: Array, params: Params) -> Array:
        """Smooth."""
        return blur(x, params["sigma"], self.kernel)

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("sigma", "kernel")
