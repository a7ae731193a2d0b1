"""Normalisation of each channel of each sample."""

from typing import Any

import keras
from keras import ops

from anyvox_keras._export import export
from anyvox_keras.ops._backend import mean_over_space


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
        return ops.cast(
            _standardised(ops.cast(inputs, "float32"), self.epsilon), self.compute_dtype
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Keep the shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


def _standardised(inputs: Any, epsilon: float) -> Any:
    """Standardise float32 `(B, D, H, W, C)`, with the gradient written out.

    Derived from the forward pass, the gradient reads and writes whole volumes about twice as often.
    """

    @ops.custom_gradient
    def standardise(wide: Any) -> Any:
        centred = wide - mean_over_space(wide)
        scale = ops.rsqrt(mean_over_space(ops.square(centred)) + epsilon)
        outputs = centred * scale

        def gradient(*args: Any, upstream: Any = None) -> Any:
            g = args[0] if upstream is None else upstream
            return (g - mean_over_space(g) - outputs * mean_over_space(g * outputs)) * scale

        return outputs, gradient

    return standardise(inputs)
