"""Scaling and squaring as a layer."""

from collections.abc import Sequence
from typing import Any

from anyvox_keras.export import export
from anyvox_keras.float32_layer import Float32Layer
from anyvox_keras.ops import integrate_velocity


@export
class IntegrateVelocity(Float32Layer):
    """Integrate a stationary velocity over unit time: `u_0 = v / 2^n`, then `u <- u o u`, n times.

    Takes and returns `(B, D, H, W, 3)` in voxels; float32. It has no weights.

    Args:
        steps: How often the field is composed with itself; 0 returns the velocity.
        outside: What a composition reads beyond the grid: "edge" (VoxelMorph 0.2; translations
            stay translations) or "zeros" (VoxelMorph 0.3).

    Raises:
        ValueError: If `steps` is negative.

    Reference:
        Arsigny et al., A log-Euclidean framework for statistics on diffeomorphisms, MICCAI 2006.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import IntegrateVelocity

        displacement = IntegrateVelocity()(np.full((1, 8, 8, 8, 3), 0.5, "float32"))
        ```
    """

    def __init__(self, steps: int = 7, outside: str = "edge", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if steps < 0:
            raise ValueError(f"`steps` must be >= 0. Received: steps={steps}")
        self.steps = steps
        self.outside = outside

    def call(self, inputs: Any) -> Any:
        """Scale and square."""
        return integrate_velocity(inputs, self.steps, self.outside)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Keep the shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "steps": self.steps, "outside": self.outside}
