"""Initial weights that are the same on every backend."""

import math
import secrets
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras.export import export
from anyvox_keras.types import Array


@export
class KaimingNormal(keras.initializers.Initializer):
    """He initialisation: normal with std `sqrt(2 / fan_in)`, not truncated (He et al., 2015).

    Drawn on the host from `seed` alone, so a seed gives the same weights on each backend.

    Args:
        seed: An integer or a sequence of them; None draws one.

    Example:
        ```python
        keras.layers.Dense(8, kernel_initializer=KaimingNormal(seed=0))
        ```
    """

    def __init__(self, seed: int | Sequence[int] | None = None) -> None:
        self.seed = secrets.randbits(31) if seed is None else seed

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Array:
        """Draw a kernel; the last axis of `shape` is the outputs, the others are the fan-in."""
        std = math.sqrt(2 / math.prod(shape[:-1]))
        draw = np.random.default_rng(self.seed).standard_normal(tuple(shape)) * std
        return ops.convert_to_tensor(draw.astype("float32"), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"seed": self.seed}


class _Around(keras.initializers.Initializer):
    """Normal with a small spread about `mean`, drawn on the host."""

    mean = 0.0

    def __init__(self, std: float, seed: int | Sequence[int] | None = None) -> None:
        self.std = std
        self.seed = secrets.randbits(31) if seed is None else seed

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Array:
        """Draw weights of the given shape."""
        draw = self.mean + self.std * np.random.default_rng(self.seed).standard_normal(tuple(shape))
        return ops.convert_to_tensor(draw.astype("float32"), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"std": self.std, "seed": self.seed}


@export
class AroundOne(_Around):
    """Normal with mean 1 and a small spread: the first scales of the UNet's batch norms.

    Args:
        std: Standard deviation.
        seed: An integer or a sequence of them; None draws one.
    """

    mean = 1.0

    def __init__(self, std: float = 0.02, seed: int | Sequence[int] | None = None) -> None:
        super().__init__(std, seed)


@export
class AroundZero(_Around):
    """Normal with mean 0 and a small spread: a flow that starts next to no displacement.

    Args:
        std: Standard deviation.
        seed: An integer or a sequence of them; None draws one.
    """

    def __init__(self, std: float = 1e-5, seed: int | Sequence[int] | None = None) -> None:
        super().__init__(std, seed)
