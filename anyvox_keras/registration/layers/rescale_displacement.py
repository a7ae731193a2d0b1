"""Change of a displacement's grid as a layer."""

from collections.abc import Sequence
from typing import Any

from anyvox_keras.export import export
from anyvox_keras.float32_layer import Float32Layer
from anyvox_keras.ops import resize


@export
class RescaleDisplacement(Float32Layer):
    """Resample a displacement to a grid of other voxels over the same space.

    `(B, D, H, W, 3)` in voxels to `(B, floor(factor D), ..., 3)` in voxels of the new grid: the
    vectors are multiplied by the factor. Float32; no weights.

    Args:
        factor: New sides over old sides.
        align: "corners" (the corner voxels coincide, as in VoxelMorph) or "half_pixel" (the
            volumes' faces do).

    Raises:
        ValueError: If `factor` is not positive.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import RescaleDisplacement

        fine = RescaleDisplacement(2)(np.ones((1, 8, 8, 8, 3), "float32"))  # (1, 16, 16, 16, 3)
        ```
    """

    def __init__(self, factor: float, align: str = "corners", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if factor <= 0:
            raise ValueError(f"`factor` must be > 0. Received: factor={factor}")
        self.factor = factor
        self.align = align

    def call(self, inputs: Any) -> Any:
        """Resample and scale."""
        return resize(inputs, self._sides(inputs.shape), align=self.align) * self.factor

    def _sides(self, shape: Sequence[Any]) -> list[Any]:
        return [None if side is None else max(1, int(side * self.factor)) for side in shape[1:4]]

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Scale the known sides."""
        return (input_shape[0], *self._sides(input_shape), input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "factor": self.factor, "align": self.align}
