"""Composition of displacements as a layer."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from anyvox_keras.export import export
from anyvox_keras.float32_layer import Float32Layer
from anyvox_keras.ops import compose


@export
class ComposeTransforms(Float32Layer):
    """Join displacements into one: warping by it equals warping by the first, the second, ...

    Call with a list of `(B, D, H, W, 3)` in voxels; returns one, float32. For `[a, b]` it is
    `b(x) + a(x + b(x))`; as maps of points, `x -> a(b(x))`. It has no weights.

    Args:
        outside: What lies beyond the grid of a displacement: "edge" or "zeros" (VoxelMorph 0.3).

    Raises:
        ValueError: If it is called with nothing.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import ComposeTransforms

        shift = np.ones((1, 8, 8, 8, 3), "float32")
        twice = ComposeTransforms()([shift, shift])
        ```
    """

    def __init__(self, outside: str = "edge", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outside = outside

    def call(self, inputs: Sequence[Any]) -> Any:
        """Compose from the last to the first."""
        if not inputs:
            raise ValueError("`inputs` must be a list of displacements. Received: none")
        return reduce(lambda later, earlier: compose(earlier, later, self.outside), inputs[::-1])

    def compute_output_shape(
        self, input_shape: Sequence[Sequence[int | None]]
    ) -> tuple[int | None, ...]:
        """Give the grid of the last displacement."""
        return tuple(input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "outside": self.outside}
