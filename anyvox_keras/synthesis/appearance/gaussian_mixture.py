"""Intensities from labels."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import Array
from anyvox_keras.export import export
from anyvox_keras.ops.only_where import computed_once
from anyvox_keras.random.random_layer import Params, RandomLayer, chance, ranged
from anyvox_keras.synthesis.appearance.rescale import rescale


@export
class GaussianMixture(RandomLayer):
    """Paint each label with its own Gaussian, `max(mean + std n, 0)`, and rescale to [0, 1].

    Drawn per sample: a mean and a std per label, a standard normal per voxel, and whether the
    background, the smallest label present, is left at zero.

    Args:
        mean: Range of the means.
        std: Range of the standard deviations.
        empty_background: Probability that the background is left at zero.
        labels: Number of distinct labels; larger labels are taken modulo this number.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If an argument is out of range or a label map is not of integers.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import GaussianMixture

        labels = np.random.randint(0, 5, (1, 16, 16, 16))
        image = GaussianMixture()(labels)  # (1, 16, 16, 16, 1)
        ```
    """

    def __init__(
        self,
        mean: random.RangeLike = (25, 255),
        std: random.RangeLike = (5, 20),
        empty_background: float = 0.25,
        labels: int = 64,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        self.mean, self.std = random.Range(mean, "mean"), random.Range(std, "std", minimum=0)
        if not 0 <= empty_background <= 1:
            message = "`empty_background` must be in [0, 1]"
            raise ValueError(f"{message}. Received: empty_background={empty_background}")
        if labels < 1:
            raise ValueError(f"`labels` must be >= 1. Received: labels={labels}")
        self.empty_background, self.labels = float(empty_background), int(labels)

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """`mean`, `std` (B, labels), `noise` (B, D, H, W) and `empty` (B,)."""
        return {
            "mean": ranged(self.mean, self.labels),
            "std": ranged(self.std, self.labels),
            "noise": random.Draw("normal", tuple(shape)),
            "empty": chance(self.empty_background),
        }

    def apply(self, x: Array, params: Params) -> Array:
        """Paint label maps `(B, D, H, W)`; returns `(B, D, H, W, 1)` in [0, 1]."""
        if "float" in keras.backend.standardize_dtype(x.dtype):
            raise ValueError(f"label maps must be integers. Received: dtype={x.dtype}")
        labels, noise = ops.convert_to_tensor(x, "int32"), params["noise"]
        image = computed_once(params["std"], lambda: self._paint(labels, params), noise)
        return rescale(image[..., None])

    def _paint(self, labels: Array, params: Params) -> Array:
        lowest = ops.mod(ops.min(labels, axis=(1, 2, 3)), self.labels)[:, None]
        cleared = ops.equal(lowest, np.arange(self.labels, dtype="int32"))
        cleared = ops.logical_and(cleared, params["empty"][:, None])
        mean, std = (ops.where(cleared, 0.0, params[name]) for name in ("mean", "std"))
        first = ops.arange(ops.shape(labels)[0], dtype="int32") * self.labels
        index = ops.mod(labels, self.labels) + ops.reshape(first, (-1, 1, 1, 1))
        spread = ops.take(ops.reshape(std, (-1,)), index)
        image = ops.take(ops.reshape(mean, (-1,)), index) + spread * params["noise"]
        return ops.maximum(image, 0.0)

    def compute_output_spec(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """One channel of float32."""
        return keras.KerasTensor((*x.shape, 1), "float32")

    def ranges(self) -> dict[str, str]:
        """Describe the ranges of the draws, by name."""
        names = ("mean", "std", "empty_background")
        return {name: str(getattr(self, name)) for name in names}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "mean": self.mean.pair,
            "std": self.std.pair,
            "empty_background": self.empty_background,
            "labels": self.labels,
        }
