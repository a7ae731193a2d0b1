"""An image and its MIND descriptors as a layer."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from anyvox_keras.export import export
from anyvox_keras.float32_layer import Float32Layer
from anyvox_keras.registration.descriptors.mind import CHANNELS, mind_ssc


@export
class MINDChannels(Float32Layer):
    """Append an image's twelve MIND-SSC descriptors to it, so that a network sees across contrasts.

    `(B, D, H, W, 1)` to `(B, D, H, W, 13)` float32; see `mind_ssc`. It has no weights.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import MINDChannels

        channels = MINDChannels()(np.random.rand(1, 8, 8, 8, 1).astype("float32"))
        ```
    """

    def call(self, inputs: Any) -> Any:
        """Describe and append."""
        return ops.concatenate([inputs, mind_ssc(inputs)], axis=-1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Twelve channels more."""
        return (*input_shape[:-1], 1 + CHANNELS)
