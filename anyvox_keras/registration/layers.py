"""Keras layers of registration networks: warps, displacements, correlation."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from keras import ops

from anyvox_keras.errors import one_of
from anyvox_keras.export import Float32Layer, export
from anyvox_keras.ops import average_pool, compose, integrate_velocity, resize, warp
from anyvox_keras.registration.deformable.cost_volume import cost_volume, window_offsets
from anyvox_keras.registration.descriptors.mind import CHANNELS, mind_ssc
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


@export
class Correlation(Float32Layer):
    """Tell for every displacement of a window how likely two volumes match there.

    Both are averaged over blocks of `stride` voxels and compared by `cost_volume`; then

        p(x, d) = softmax_d(-cost(x, d) / temperature),    u(x) = stride * sum_d p(x, d) d

    Convolutions of both images learn to compare them only over very many pairs; `p` tells a
    displacement from the first step on. It has no weights, and what it compares gets no gradient.

    Call with `[fixed, moving]`, `(B, D, H, W, C)` each, sides multiples of `stride`; returns
    `(B, D / stride, H / stride, W / stride, (2 half_width + 1)^3 + 3)` float32: `p`, displacements
    as in `window_offsets`, then `u` in voxels.

    Args:
        stride: Side of a block, in voxels.
        half_width: Of the window, in blocks.
        temperature: The lower, the more the best displacement counts alone.

    Raises:
        ValueError: If `stride` or `half_width` is below one, or `temperature` not above 0.

    Reference:
        Dosovitskiy et al., FlowNet, ICCV 2015; Heinrich, Closing the Gap between Deep and
        Conventional Image Registration using Probabilistic Dense Displacement Networks, MICCAI
        2019.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import Correlation

        x = np.random.rand(1, 8, 8, 8, 4).astype("float32")
        matches = Correlation(stride=2, half_width=1)([x, x])  # (1, 4, 4, 4, 30)
        ```
    """

    def __init__(
        self, stride: int = 2, half_width: int = 2, temperature: float = 0.1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("stride", stride), ("half_width", half_width)):
            if value < 1:
                raise ValueError(f"`{name}` must be >= 1. Received: {name}={value}")
        if not temperature > 0:
            raise ValueError(f"`temperature` must be > 0. Received: temperature={temperature}")
        self.stride, self.half_width = int(stride), int(half_width)
        self.temperature = float(temperature)

    def call(self, inputs: Sequence[Array]) -> Array:
        """Compare the fixed with the moving volume."""
        fixed, moving = (average_pool(ops.stop_gradient(x), self.stride) for x in inputs)
        cost = cost_volume(fixed, moving, self.half_width)
        likely = ops.softmax(-cost / self.temperature, axis=-1)
        offsets = ops.convert_to_tensor(self.stride * window_offsets(self.half_width))
        return ops.concatenate([likely, ops.matmul(likely, offsets)], axis=-1)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[int | None, ...]:
        """A channel per displacement, and the mean one's three."""
        batch, *space, _ = input_shape[0]
        window = (2 * self.half_width + 1) ** 3
        return (batch, *(n and n // self.stride for n in space), window + 3)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"stride": self.stride, "half_width": self.half_width}
        return {**super().get_config(), **own, "temperature": self.temperature}


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

    def call(self, inputs: Array) -> Array:
        """Describe and append."""
        return ops.concatenate([inputs, mind_ssc(inputs)], axis=-1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Twelve channels more."""
        return (*input_shape[:-1], 1 + CHANNELS)
