"""A 3D convolution that sees zeros beyond the border."""

from typing import Any

from anyvox_keras._export import export
from anyvox_keras.networks.reflect_conv3d import ReflectConv3D
from anyvox_keras.ops import pad


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
