"""Halving of a volume's sides."""

from typing import Any

import keras

from anyvox_keras.backend import max_pool
from anyvox_keras.export import export


@export
class MaxPool(keras.layers.Layer):
    """Largest of each 2 x 2 x 2 voxels of `(B, D, H, W, C)`; an odd side's last plane is left out.

    Keras's own layer copies volumes to and fro on torch, which takes five times as long.

    Example:
        ```python
        y = MaxPool()(np.zeros((1, 16, 16, 16, 4), "float32"))  # (1, 8, 8, 8, 4)
        ```
    """

    def call(self, inputs: Any) -> Any:
        """Halve the three spatial axes."""
        return max_pool(inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Halve the known sides."""
        batch, *space, channels = input_shape
        return (batch, *(None if n is None else n // 2 for n in space), channels)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments; none is its own."""
        return super().get_config()
