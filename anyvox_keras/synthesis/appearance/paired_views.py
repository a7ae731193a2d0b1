"""Two images of one label map."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import Array, map_samples
from anyvox_keras.export import export
from anyvox_keras.random.random_layer import Params, RandomLayer
from anyvox_keras.synthesis.appearance.appearance import Appearance

VIEWS = ("view1", "view2")


@export
class PairedViews(RandomLayer):
    """Draw two independent images of the same label map.

    Args:
        appearance: Layer that draws one; `Appearance()` by default.
        seed: Seed of the draws that are made without keys.

    Example:
        ```python
        import numpy as np
        import anyvox_keras as avx
        from anyvox_keras.random import keys_for

        views = avx.PairedViews(avx.Appearance(spike=None))
        labels = np.random.randint(0, 5, (1, 32, 32, 32))
        view1, view2 = views(labels, keys=keys_for(0, [0]))  # (1, 32, 32, 32, 1) each
        ```
    """

    def __init__(self, appearance: Any = None, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        self.appearance = Appearance() if appearance is None else appearance

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """Tell what `view1` and `view2` draw."""
        return {view: self.appearance.plan(shape) for view in VIEWS}

    def finish(self, drawn: Params, shape: Sequence[int]) -> Params:
        """Turn drawn values into the parameters of the two views."""
        return {view: self.appearance.finish(drawn[view], shape) for view in VIEWS}

    def apply(self, x: Array, params: Params) -> tuple[Array, Array]:
        """Paint label maps `(B, D, H, W)` twice."""
        first, second = (self.appearance.apply(x, params[view]) for view in VIEWS)
        return first, second

    def draw(self, x: Array, keys: Array) -> tuple[Array, Array]:
        """Paint one view after the other: only one view's parameters take memory.

        The views are `apply(x, sample(keys, shape))`; their program is traced once.
        """
        x, shape = ops.convert_to_tensor(x), tuple(x.shape[1:4])

        def paint(view_keys: Array) -> Array:
            return self.appearance.apply(x, self.appearance.sample(view_keys, shape))

        view_keys = ops.stack([random.fold_in(keys, view) for view in VIEWS])
        views = map_samples(paint, view_keys, like=keras.KerasTensor((*x.shape, 1), "float32"))
        return views[0], views[1]

    def compute_output_spec(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Two images of one channel."""
        return tuple(keras.KerasTensor((*x.shape, 1), "float32") for _ in VIEWS)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        appearance = keras.saving.serialize_keras_object(self.appearance)
        return {**super().get_config(), "appearance": appearance}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PairedViews":
        """Rebuild with its appearance."""
        appearance = keras.saving.deserialize_keras_object(config["appearance"])
        return cls(**{**config, "appearance": appearance})
