"""A 3D convolution that mirrors its input at the border."""

from typing import Any

import keras
from keras import ops

from anyvox_keras.backend import conv3d, reflect_pad
from anyvox_keras.export import export
from anyvox_keras.ops import pad


@export
class ReflectConv3D(keras.layers.Layer):
    """Cubic convolution, stride 1, whose input is padded by reflection (border voxel not repeated).

    Shape `(B, D, H, W, C)` to `(B, D, H, W, filters)`; each side must exceed `kernel_size // 2`.

    Args:
        filters: Output channels.
        kernel_size: Odd side of the kernel, in voxels.
        use_bias: Whether to add a bias.
        kernel_initializer: A Keras initializer.

    Example:
        ```python
        y = ReflectConv3D(8)(np.zeros((1, 16, 16, 16, 1), "float32"))  # (1, 16, 16, 16, 8)
        ```
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        use_bias: bool = False,
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd. Received: kernel_size={kernel_size}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the kernel `(k, k, k, C, filters)` and the bias."""
        shape = (self.kernel_size,) * 3 + (input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight((self.filters,), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """Convolve the padded input."""
        padded = self._pad(inputs, self.kernel_size // 2) if self.kernel_size > 1 else inputs
        outputs = conv3d(padded, ops.convert_to_tensor(self.kernel))
        return outputs if self.bias is None else outputs + self.bias

    def _pad(self, inputs: Any, width: int) -> Any:
        return reflect_pad(inputs, width)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Keep space, replace channels."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@export
class ZeroConv3D(ReflectConv3D):
    """As `ReflectConv3D`, but padded with zeros: VoxelMorph's convolution.

    Example:
        ```python
        y = ZeroConv3D(8, use_bias=True)(np.zeros((1, 16, 16, 16, 1), "float32"))
        ```
    """

    def _pad(self, inputs: Any, width: int) -> Any:
        return pad(inputs, ((width, width),) * 3, "zeros")
