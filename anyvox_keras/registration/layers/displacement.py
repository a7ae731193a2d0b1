"""Layers that integrate, rescale, compose and apply displacements."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from anyvox_keras.errors import one_of
from anyvox_keras.export import export
from anyvox_keras.float32_layer import Float32Layer
from anyvox_keras.ops import compose, integrate_velocity, resize, warp
from anyvox_keras.types import Alignment, Array, Interpolation, Outside

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

    def __init__(
        self, method: Interpolation = "linear", outside: Outside = "zeros", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        one_of("method", method, Interpolation)
        self.method = method
        self.outside = outside

    def call(self, inputs: Sequence[Array]) -> Array:
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

    def __init__(self, steps: int = 7, outside: Outside = "edge", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if steps < 0:
            raise ValueError(f"`steps` must be >= 0. Received: steps={steps}")
        self.steps = steps
        self.outside = outside

    def call(self, inputs: Array) -> Array:
        """Scale and square."""
        return integrate_velocity(inputs, self.steps, self.outside)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Keep the shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "steps": self.steps, "outside": self.outside}


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

    def __init__(self, factor: float, align: Alignment = "corners", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if factor <= 0:
            raise ValueError(f"`factor` must be > 0. Received: factor={factor}")
        self.factor = factor
        self.align = align

    def call(self, inputs: Array) -> Array:
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

    def __init__(self, outside: Outside = "edge", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outside = outside

    def call(self, inputs: Sequence[Array]) -> Array:
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
