"""Smooth multiplicative fields."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import Array
from anyvox_keras.export import export
from anyvox_keras.random.random_layer import Params, ranged
from anyvox_keras.synthesis.appearance.effect import Effect

BASES = ("legendre", "power")


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
        basis: str = "legendre",
        probability: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(probability, seed, **kwargs)
        self.coefficients = random.Range(coefficients, "coefficients")
        if order < 1:
            raise ValueError(f"`order` must be >= 1. Received: order={order}")
        if basis not in BASES:
            raise ValueError(f"`basis` must be one of {BASES}. Received: basis={basis}")
        self.order, self.basis = int(order), basis

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """`coefficients` (B, terms), k running fastest and i slowest."""
        return {"coefficients": ranged(self.coefficients, len(self._terms()))}

    def change(self, x: Array, params: Params) -> Array:
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
