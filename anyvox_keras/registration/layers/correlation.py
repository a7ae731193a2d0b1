"""Layers that compare two images: MIND channels, and how well they match in a window."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from anyvox_keras.export import export
from anyvox_keras.float32_layer import Float32Layer
from anyvox_keras.ops import average_pool
from anyvox_keras.registration.deformable.cost_volume import cost_volume, window_offsets
from anyvox_keras.registration.descriptors.mind import CHANNELS, mind_ssc
from anyvox_keras.types import Array


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
        """A channel a displacement, and the mean one's three."""
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
