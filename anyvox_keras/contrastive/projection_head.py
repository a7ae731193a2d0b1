"""What stands between a tap and the loss."""

from typing import Any

import keras

from anyvox_keras.export import export
from anyvox_keras.networks.initializers import KaimingNormal
from anyvox_keras.types import Array


@export
class ProjectionHead(keras.layers.Layer):
    """Bias-free linear layers with batch norm, ReLU between: `(N, C)` rows to `(N, width)`.

    The last batch norm has no scale and shift. All rows count as one batch. Weights are Kaiming
    normal, drawn from `seed` alike on every backend (Dey et al., 2025, section 3).

    Args:
        width: Units of each linear layer.
        depth: Number of linear layers.
        seed: Seed of the initial weights; an integer or a sequence of them.

    Example:
        ```python
        rows = ProjectionHead()(np.ones((1024, 16), "float32"), training=True)  # (1024, 256)
        ```
    """

    def __init__(self, width: int = 256, depth: int = 3, seed: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.depth = depth
        self.seed = seed
        self.linear = [self._linear(index) for index in range(depth)]
        self.norms = [self._norm(index) for index in range(depth)]

    def _linear(self, index: int) -> keras.layers.Layer:
        seed = None if self.seed is None else [*_sequence(self.seed), index]
        return keras.layers.Dense(
            self.width,
            use_bias=False,
            kernel_initializer=KaimingNormal(seed),
            dtype=self.dtype_policy,
            name=f"linear_{index}",
        )

    def _norm(self, index: int) -> keras.layers.Layer:
        inner = index < self.depth - 1
        return keras.layers.BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            scale=inner,
            center=inner,
            dtype=self.dtype_policy,
            name=f"norm_{index}",
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build each layer for the one before."""
        for linear, norm in zip(self.linear, self.norms, strict=True):
            linear.build(input_shape)
            input_shape = linear.compute_output_shape(input_shape)
            norm.build(input_shape)

    def call(self, inputs: Array, training: bool | None = None) -> Array:
        """Project rows."""
        x = inputs
        for index, (linear, norm) in enumerate(zip(self.linear, self.norms, strict=True)):
            x = norm(linear(x), training=training)
            x = keras.ops.relu(x) if index < self.depth - 1 else x
        return x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Replace channels."""
        return (*input_shape[:-1], self.width)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "width": self.width,
            "depth": self.depth,
            "seed": self.seed,
        }


def _sequence(seed: Any) -> list[int]:
    return [seed] if isinstance(seed, int) else list(seed)
