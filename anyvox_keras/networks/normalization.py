"""Batch and instance normalisation, with float32 statistics."""

import math
from typing import Any

import keras
from keras import ops

from anyvox_keras.backend import batch_normalize, standardize_over_space
from anyvox_keras.export import export
from anyvox_keras.types import Array


@export
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation of `(B, D, H, W, C)` by PyTorch's law, several times faster in training.

    The moving variance gathers the *unbiased* batch variance, and the defaults are PyTorch's
    (momentum 0.9 in Keras's sense, epsilon 1e-5): the laws of published checkpoints.

    Args:
        momentum: Share of the old moving statistics that each step keeps.
        epsilon: Added to the variance.
        **kwargs: As `keras.layers.BatchNormalization`.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs: Array, training: bool | None = None, mask: Array | None = None) -> Array:
        """Normalise by the batch in training, by the moving statistics otherwise."""
        if not (training and self.trainable) or mask is not None:
            outputs = super().call(inputs, training=training, mask=mask)
            return ops.cast(outputs, self.compute_dtype)
        # the kernels take narrow voxels with float32 weights, and no doubles
        gamma, beta = (ops.cast(w, "float32") for w in (self.gamma, self.beta))
        voxels = ops.cast(inputs, "float32") if self.compute_dtype == "float64" else inputs
        outputs, mean, variance = batch_normalize(voxels, gamma, beta, self.epsilon)
        count = ops.cast(math.prod(ops.shape(inputs)[:-1]), "float32")
        self._follow(self.moving_mean, mean)
        self._follow(self.moving_variance, variance * (count / ops.maximum(count - 1, 1)))
        return ops.cast(outputs, self.compute_dtype)

    def _follow(self, moving: keras.Variable, batch: Array) -> None:
        kept = ops.cast(moving, "float32") * self.momentum
        moving.assign(kept + ops.stop_gradient(batch) * (1 - self.momentum))


@export
class InstanceNorm(keras.layers.Layer):
    """`(x - mean) / sqrt(var + epsilon)` over the space of each sample and channel.

    Mean and variance are float32 for any dtype. No moving statistics; the same in training and
    inference.

    Args:
        epsilon: Added to the biased variance.
        affine: Whether a learned scale and shift of each channel follow.
    """

    def __init__(self, epsilon: float = 1e-5, affine: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.affine = affine

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create scale and shift, if there are any."""
        if self.affine:
            shape = (input_shape[-1],)
            self.gamma = self.add_weight(shape, initializer="ones", name="gamma")
            self.beta = self.add_weight(shape, initializer="zeros", name="beta")

    def call(self, inputs: Array) -> Array:
        """Normalise `(B, D, H, W, C)`."""
        outputs = standardize_over_space(ops.cast(inputs, self.compute_dtype), self.epsilon)
        if not self.affine:
            return outputs
        gamma, beta = (
            ops.cast(ops.convert_to_tensor(w), outputs.dtype) for w in (self.gamma, self.beta)
        )
        return outputs * gamma + beta

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Keep the shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"epsilon": self.epsilon} | ({"affine": True} if self.affine else {})
        return {**super().get_config(), **own}
