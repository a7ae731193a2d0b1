"""Additive noise, and lost regions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.export import export
from anyvox_keras.synthesis.appearance.effect import Effect, spread
from anyvox_keras.types import Array


@export
class GaussianNoise(Effect):
    """Add white Gaussian noise.

    Args:
        std: Range of the standard deviation, drawn per sample.
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If `std` may be negative.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import GaussianNoise

        image = GaussianNoise(std=0.1)(np.zeros((1, 16, 16, 16, 1), "float32"))
        ```
    """

    def __init__(
        self,
        std: random.RangeLike = (0.0, 0.25),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        self.std = random.Range(std, "std", minimum=0)

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`std` (B,) and `noise` (B, 2): the key of the noise, which active samples expand."""
        return {"std": random.ranged(self.std), "noise": random.Draw("key")}

    def change(self, x: Array, params: random.Params) -> Array:
        """Add the noise."""
        noise = random.normal(params["noise"], x.shape[1:])
        return x + spread(params["std"]) * noise

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("std",)


@export
class RicianNoise(GaussianNoise):
    """Take the magnitude of the image plus complex noise, `sqrt((x + a)^2 + b^2)`.

    a and b are white and normal with one standard deviation.

    Args:
        std: Range of the standard deviation, drawn per sample.
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If `std` may be negative.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import RicianNoise

        image = RicianNoise(std=0.1)(np.zeros((1, 16, 16, 16, 1), "float32"))
        ```
    """

    def __init__(
        self,
        std: random.RangeLike = (0.0, 0.1),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(std, probability, seed, **kwargs)

    def change(self, x: Array, params: random.Params) -> Array:
        """Add the noise."""
        noise = random.normal(params["noise"], (2, *x.shape[1:]))
        std = spread(params["std"])
        square = ops.square(x + std * noise[:, 0]) + ops.square(std * noise[:, 1])
        # The slope of a root is infinite at 0.
        return ops.sqrt(ops.maximum(square, 1e-20))


@export
class CutOut(Effect):
    """Set a random box of each sample to its smallest value.

    Args:
        extent: Range of the box's length, as a fraction of the grid's side, drawn per sample and
            axis; the box lies inside the grid.
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If `extent` may leave [0, 1].

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import CutOut

        image = CutOut()(np.random.rand(1, 16, 16, 16, 1).astype("float32"))
        ```
    """

    def __init__(
        self,
        extent: random.RangeLike = (0.1, 0.4),
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        self.extent = random.Range(extent, "extent", minimum=0)
        if self.extent.high > 1:
            raise ValueError(f"`extent` must be in [0, 1]. Received: extent={extent}")

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`extent` and `place` (B, 3), fractions of the side and of the space left."""
        return {"extent": random.ranged(self.extent, 3), "place": random.Draw("uniform", (3,))}

    def change(self, x: Array, params: random.Params) -> Array:
        """Cut the box."""
        box = None
        for axis, side in enumerate(x.shape[1:4]):
            length = ops.round(params["extent"][:, axis] * side)
            start = ops.floor(params["place"][:, axis] * (side - length + 1.0))[:, None]
            index = ops.convert_to_tensor(np.arange(side, dtype="float32"))[None]
            inside = ops.logical_and(index >= start, index < start + length[:, None])
            inside = ops.reshape(inside, [-1] + [side if a == axis else 1 for a in range(4)])
            box = inside if box is None else ops.logical_and(box, inside)
        return ops.where(box, ops.min(x, axis=(1, 2, 3, 4), keepdims=True), x)

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("extent",)
