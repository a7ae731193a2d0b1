"""Normalisation of each channel of each sample."""

from typing import Any

import keras
from keras import ops

from anyvox_keras._export import export
from anyvox_keras.ops._backend import standardize_over_space


@export
class InstanceNorm(keras.layers.Layer):
    """`(x - mean) / sqrt(var + epsilon)` over the space of each sample and channel, in float32.

    No scale, no shift, no moving statistics; the same in training and inference.

    Args:
        epsilon: Added to the biased variance.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, inputs: Any) -> Any:
        """Normalise `(B, D, H, W, C)`."""
        wide = ops.cast(inputs, "float32")
        return ops.cast(standardize_over_space(wide, self.epsilon), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Keep the shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}
