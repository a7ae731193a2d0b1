"""The same random window of all volumes of a sample."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import Array
from anyvox_keras.export import export
from anyvox_keras.random.random_layer import Params, integer
from anyvox_keras.synthesis.augmentation.pair_layer import Pair, PairLayer, spatial_shape


@export
class RandomCrop(PairLayer):
    """Cut a cube at a uniform position, the same in every volume of a sample.

    In inference the central cube, so that shapes stay the same.

    Args:
        side: Side of the cube.
        seed: Seed of the draws that are made without keys.

    Call arguments:
        x: Volumes by name, `(B, D, H, W, C)` or `(B, D, H, W)`, each axis at least `side`.

    Raises:
        ValueError: If `side` is below 1 or a volume is smaller.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.augmentation import RandomCrop

        window = RandomCrop(8)({"label_map": np.ones((1, 16, 16, 16), "int32")}, training=True)
        ```
    """

    def __init__(self, side: int, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        if side < 1:
            raise ValueError(f"`side` must be >= 1. Received: side={side}")
        self.side = int(side)

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """`corner` (B, 3) int32."""
        if min(shape) < self.side:
            message = f"volumes must have at least {self.side} voxels per axis"
            raise ValueError(f"{message}. Received: shape={tuple(shape)}")
        room = np.asarray([n - self.side + 1 for n in shape], "int32")
        return {"corner": integer(0, room, 3)}

    def apply(self, x: Pair, params: Params) -> Pair:
        """Cut every volume at the same place."""
        return {name: self._cut(ops.convert_to_tensor(v), params) for name, v in x.items()}

    def _cut(self, volume: Array, params: Params) -> Array:
        window = ops.arange(self.side, dtype="int32")
        for axis in (1, 2, 3):
            index = params["corner"][:, axis - 1, None] + window
            shape = [-1, *(self.side if a == axis else 1 for a in range(1, len(volume.shape)))]
            volume = ops.take_along_axis(volume, ops.reshape(index, shape), axis=axis)
        return volume

    def call(self, x: Pair, keys: Array | None = None, training: bool | None = None) -> Pair:
        """Cut at random in training, at the centre otherwise."""
        if training:
            return super().call(x, keys, training)
        starts = [(n - self.side) // 2 for n in spatial_shape(x)]
        window = (slice(None), *(slice(start, start + self.side) for start in starts))
        return {name: volume[window] for name, volume in x.items()}

    def ranges(self) -> dict[str, str]:
        """Describe what is drawn."""
        return {"side": str(self.side), "corner": "uniform"}

    def compute_output_spec(self, x: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Smaller volumes."""
        cube = (self.side,) * 3
        return {
            name: keras.KerasTensor((v.shape[0], *cube, *v.shape[4:]), v.dtype)
            for name, v in x.items()
        }

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "side": self.side}
