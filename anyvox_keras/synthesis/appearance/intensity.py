"""Intensities from labels, their texture and their bias field."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.errors import one_of
from anyvox_keras.export import export
from anyvox_keras.ops.only_where import computed_once
from anyvox_keras.random.smooth_noise import node_draws, upsample_sum
from anyvox_keras.synthesis.appearance.effect import Effect, rescale
from anyvox_keras.types import Array, BiasBasis


@export
class GaussianMixture(random.RandomLayer):
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
            "mean": random.ranged(self.mean, self.labels),
            "std": random.ranged(self.std, self.labels),
            "noise": random.Draw("normal", tuple(shape)),
            "empty": random.chance(self.empty_background),
        }

    def apply(self, x: Array, params: random.Params) -> Array:
        """Paint label maps `(B, D, H, W)`; returns `(B, D, H, W, 1)` in [0, 1]."""
        if "float" in keras.backend.standardize_dtype(x.dtype):
            raise ValueError(f"label maps must be integers. Received: dtype={x.dtype}")
        labels, noise = ops.convert_to_tensor(x, "int32"), params["noise"]
        image = computed_once(params["std"], lambda: self._paint(labels, params), noise)
        return rescale(image[..., None])

    def _paint(self, labels: Array, params: random.Params) -> Array:
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
            named[f"std_{scale:g}"] = random.ranged(self.std, 1, 1, 1)
            named[f"nodes_{scale:g}"] = node_draws(shape, scale)
        return named

    def finish(self, drawn: random.Params, shape: Sequence[int]) -> random.Params:
        """Scale the nodes: `nodes_<scale>` (B, d, h, w)."""
        active = {"active": drawn["active"]}
        return active | {
            f"nodes_{scale:g}": drawn[f"std_{scale:g}"] * drawn[f"nodes_{scale:g}"]
            for scale in self.scales
        }

    def change(self, x: Array, params: random.Params) -> Array:
        """Multiply by the field."""
        nodes = [self.strength * params[f"nodes_{scale:g}"] for scale in self.scales]
        return x * (1.0 + upsample_sum(nodes, x.shape[1:4]))[..., None]

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("strength", "scales", "std")


@export
class BiasField(Effect):
    """Multiply by `exp(sum c_ijk P_i(x) P_j(y) P_k(z))`, `i + j + k <= order`.

    Coordinates run from -1 to 1 along each axis. P are Legendre polynomials (MONAI's
    `RandBiasField`) or powers (TorchIO's `RandomBiasField`); order 3 has 20 terms.

    Args:
        coefficients: Range of the c, drawn per sample and term.
        order: Largest total degree, at least 1.
        basis: "legendre" or "power".
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If `order` or `basis` is unknown.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import BiasField

        image = BiasField(coefficients=(0, 0.3))(np.ones((1, 16, 16, 16, 1), "float32"))
        ```
    """

    def __init__(
        self,
        coefficients: random.RangeLike = (0.0, 0.075),
        order: int = 3,
        basis: BiasBasis = "legendre",
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        self.coefficients = random.Range(coefficients, "coefficients")
        if order < 1:
            raise ValueError(f"`order` must be >= 1. Received: order={order}")
        one_of("basis", basis, BiasBasis)
        self.order, self.basis = int(order), basis

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`coefficients` (B, terms), k running fastest and i slowest."""
        return {"coefficients": random.ranged(self.coefficients, len(self._terms()))}

    def change(self, x: Array, params: random.Params) -> Array:
        """Multiply by the field."""
        size = self.order + 1
        dense = ops.matmul(params["coefficients"], self._placement())
        depth, height, width = (self._polynomials(side) for side in x.shape[1:4])
        field = ops.matmul(depth, ops.reshape(dense, (-1, size, size * size)))
        field = ops.matmul(height, ops.reshape(field, (-1, x.shape[1], size, size)))
        field = ops.matmul(field, width.T)
        return x * ops.exp(field)[..., None]

    def settings(self) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return ("coefficients", "order", "basis")

    def _terms(self) -> list[tuple[int, int, int]]:
        degrees = range(self.order + 1)
        return [
            (i, j, k) for i in degrees for j in degrees for k in degrees if i + j + k <= self.order
        ]

    def _placement(self) -> np.ndarray:
        """Constant matrix that puts the terms into a dense cube of coefficients."""
        size, terms = self.order + 1, self._terms()
        matrix = np.zeros((len(terms), size**3), "float32")
        for row, (i, j, k) in enumerate(terms):
            matrix[row, (i * size + j) * size + k] = 1
        return matrix

    def _polynomials(self, side: int) -> np.ndarray:
        x = np.linspace(-1, 1, side)
        if self.basis == "legendre":
            return np.polynomial.legendre.legvander(x, self.order).astype("float32")
        return np.vander(x, self.order + 1, increasing=True).astype("float32")
