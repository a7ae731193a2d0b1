"""The deformed ball that cuts a label map out of the background, and its envelope."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.export import export
from anyvox_keras.ops import median_filter
from anyvox_keras.random.smooth_noise import node_draws, upsample_sum
from anyvox_keras.types import Array

#: Largest radius of a rim.
REACH = 4
#: Stands for "none within reach"; this plus two squares still fits into an int8.
_FAR = 3 * REACH**2 + 1


@export
class ForegroundMask(random.RandomLayer):
    """Draw a ball and deform it by multi-scale noise (appendix of arXiv 2411.02372).

    Drawn per sample, in voxels of a grid of side 128; lengths scale with side / 128: an integer
    radius in [low, high), an integer shift of the centre `S // 2` in [-shift, shift) per axis, and
    for each scale a displacement of normal nodes `ceil(S / scale)` apart with one std for the
    three components. A voxel belongs to the mask if `|y - centre| <= radius` for `y` the voxel
    nearest to `x + u(x)`, where the grid is continued by reflection with the edge voxel repeated.
    A 3x3x3 median removes loose voxels.

    Args:
        radius: Range of the radius, an integer in [low, high).
        shift: Largest shift of the centre per axis.
        std: Range of the noise's standard deviation.
        scales: Distances between nodes.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If a range is empty or a scale is not above 0.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.random import keys_for
        from anyvox_keras.synthesis import ForegroundMask

        ball = ForegroundMask()
        params = ball.sample(keys_for(0, range(2)), (32, 32, 32))
        mask = ball.apply((32, 32, 32), params)  # (2, 32, 32, 32) bool
        ```
    """

    def __init__(
        self,
        radius: Sequence[int] = (48, 72),
        shift: int = 32,
        std: random.RangeLike = (1.0, 5.0),
        scales: Sequence[float] = (8, 16, 32),
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        if len(radius) != 2 or not 0 < radius[0] < radius[1]:
            raise ValueError(f"`radius` must be (low, high), 0 < low < high. Received: {radius}")
        if shift < 0:
            raise ValueError(f"`shift` must be >= 0. Received: shift={shift}")
        if not scales or min(scales) <= 0:
            raise ValueError(f"`scales` must be > 0. Received: scales={scales}")
        self.radius, self.shift = (int(radius[0]), int(radius[1])), int(shift)
        self.std = random.Range(std, "std", minimum=0)
        self.scales = tuple(scales)

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """Plan what is drawn: radius, shift, and for each scale a std and the nodes."""
        ratio = shape[0] / 128
        low, high = (round(r * ratio) for r in self.radius)
        reach = max(round(self.shift * ratio), 1)
        named = {
            "radius": random.integer(low, max(high, low + 1)),
            "shift": random.integer(-reach, reach, 3) if self.shift else random.integer(0, 1, 3),
        }
        for scale in self.scales:
            named[f"std_{scale:g}"] = random.ranged(self.std, 1, 1, 1, 1)
            named[f"nodes_{scale:g}"] = node_draws(shape, scale * ratio, 3)
        return named

    def finish(self, drawn: random.Params, shape: Sequence[int]) -> random.Params:
        """Make `radius` (B,), `centre` (B, 3) and `nodes_<scale>` (B, d, h, w, 3) in voxels."""
        ratio = shape[0] / 128
        middle = ops.convert_to_tensor([side // 2 for side in shape], "int32")
        nodes = {
            f"nodes_{scale:g}": ratio * drawn[f"std_{scale:g}"] * drawn[f"nodes_{scale:g}"]
            for scale in self.scales
        }
        return {"radius": drawn["radius"], "centre": drawn["shift"] + middle, **nodes}

    def apply(self, x: Any, params: random.Params) -> Array:
        """Make the mask on a grid: `x` is its spatial shape; returns `(B, D, H, W)` bool."""
        shape = tuple(int(side) for side in x)
        square: Array = ops.zeros((), "float32")
        for axis, side in enumerate(shape):
            # The nodes bound the field, and one reflection holds for displacements up to `side`.
            bound = side / len(self.scales)
            nodes = [
                ops.clip(params[f"nodes_{scale:g}"][..., axis], -bound, bound)
                for scale in self.scales
            ]
            centre = ops.cast(params["centre"][:, axis], "float32")
            distance = _nearest(upsample_sum(nodes, shape), axis, side) - _spread(centre)
            square = square + distance * distance
        radius = ops.cast(params["radius"], "float32")
        ball = ops.cast(square <= _spread(radius * radius), "int8")
        return median_filter(ball) > 0

    def draw(self, x: Any, keys: Array) -> Array:
        """Draw a mask on the grid of `x` `(B, D, H, W, ...)`, whose values are not used."""
        shape = tuple(x.shape[1:4])
        return self.apply(shape, self.sample(keys, shape))

    def ranges(self, side: int) -> dict[str, str]:
        """Describe what is drawn for a side, by name; lengths in voxels."""
        plan = self.plan((side,) * 3)
        radius, shift = plan["radius"], plan["shift"]
        low, high = (bound * side / 128 for bound in self.std.pair)
        return {
            "radius": f"{radius.low} to {radius.high - 1}",
            "shift": f"{shift.low} to {shift.high - 1}",
            "std": str(random.Range((low, high))),
        }

    def compute_output_spec(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """A bool mask on the same grid."""
        return keras.KerasTensor(x.shape[:4], "bool")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "radius": self.radius,
            "shift": self.shift,
            "std": self.std.pair,
            "scales": self.scales,
        }


def _nearest(displacement: Array, axis: int, side: int) -> Array:
    """Round displaced coordinates to voxels, reflected at the grid's faces."""
    line = ops.arange(side, dtype="float32")
    start = ops.reshape(line, [-1 if a == axis else 1 for a in range(3)])
    voxel = ops.floor(displacement + (start + 0.5))
    return ops.minimum(ops.maximum(voxel, -1.0 - voxel), 2.0 * side - 1.0 - voxel)


def _spread(x: Array) -> Array:
    return ops.reshape(x, (-1, 1, 1, 1))


def envelope(mask: Array, radius: Array) -> Array:
    """Dilation minus erosion of a mask by the ball `x^2 + y^2 + z^2 <= radius^2`.

    A voxel is in the rim if a voxel of the other kind lies within the radius; voxels outside the
    grid count as neither, so that no rim is painted on the grid's faces. Squared distances are
    exact, found axis by axis as the minimum over offsets of the value there plus the offset
    squared; one pass serves every radius up to 4.

    Args:
        mask: `(B, D, H, W)` bool.
        radius: `(B,)` int32 in [1, 4].

    Returns:
        `(B, D, H, W)` bool.

    Example:
        ```python
        import numpy as np

        mask = np.zeros((1, 16, 16, 16), bool)
        mask[:, 5:11, 5:11, 5:11] = True
        rim = envelope(mask, np.array([2], "int32"))
        ```
    """
    mask = ops.convert_to_tensor(mask)
    to_inside, to_outside = _square_distance(mask), _square_distance(ops.logical_not(mask))
    other = ops.where(mask, to_outside, to_inside)
    square = ops.cast(radius * radius, "int8")
    return other <= ops.reshape(square, (-1, 1, 1, 1))


def _square_distance(mask: Array) -> Array:
    """Squared distance to the nearest voxel of the mask within REACH per axis; `_FAR` is none."""
    distance = ops.where(mask, np.asarray(0, "int8"), np.asarray(_FAR, "int8"))
    for axis in (1, 2, 3):
        widths = [(REACH, REACH) if a == axis else (0, 0) for a in range(4)]
        padded = ops.pad(distance, widths, constant_values=_FAR)
        size = mask.shape[axis]
        for offset in range(1, REACH + 1):
            low, high = (_window(padded, axis, REACH + sign * offset, size) for sign in (-1, 1))
            nearer = ops.minimum(low, high) + offset**2
            distance = ops.minimum(distance, nearer)
    return distance


def _window(x: Array, axis: int, start: int, size: int) -> Array:
    return x[(slice(None),) * axis + (slice(start, start + size),)]
