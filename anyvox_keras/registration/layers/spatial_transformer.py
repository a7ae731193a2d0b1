"""Warping as a layer."""

from collections.abc import Sequence
from typing import Any

from anyvox_keras.export import export
from anyvox_keras.float32_layer import Float32Layer
from anyvox_keras.ops import warp

Shape = Sequence[int | None]


@export
class SpatialTransformer(Float32Layer):
    """Pull a volume back through a displacement: `moved(x) = moving(x + u(x))`.

    Call with `[x, displacement]`: `x` `(B, D, H, W, C)` and `displacement` `(B, d, h, w, 3)` in
    voxels, whose grid is the output's. Returns `(B, d, h, w, C)` float32. It has no weights.

    Args:
        method: "linear" or "nearest".
        outside: What lies beyond the grid: "zeros" (VoxelMorph 0.3), "edge" (VoxelMorph 0.2) or
            "symmetric".

    Raises:
        ValueError: If `method` or `outside` is unknown.

    Reference:
        Jaderberg et al., Spatial transformer networks, NeurIPS 2015.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import SpatialTransformer

        moving = np.random.rand(1, 8, 8, 8, 1).astype("float32")
        moved = SpatialTransformer()([moving, np.ones((1, 8, 8, 8, 3), "float32")])
        ```
    """

    def __init__(self, method: str = "linear", outside: str = "zeros", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if method not in ("linear", "nearest"):
            raise ValueError(f"`method` must be linear or nearest. Received: method={method}")
        self.method = method
        self.outside = outside

    def call(self, inputs: Sequence[Any]) -> Any:
        """Warp the first input by the second."""
        x, displacement = inputs
        return warp(x, displacement, self.method, self.outside)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> tuple[int | None, ...]:
        """Give space by the displacement, channels by the volume."""
        volume, displacement = input_shape
        return (*displacement[:-1], volume[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "method": self.method, "outside": self.outside}
