"""The base of every layer that draws."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from anyvox_keras.random.keys import fold_in, keys_for

Array = Any
Params = dict[str, Any]


class KeyedLayer(keras.Layer):
    """A random layer in two halves: `sample` makes all draws, `apply` is pure.

    `call(x, keys)` joins them. Params are plain arrays: they can be recorded, replayed, injected,
    applied to image and labels alike. Without keys the layer's own counter, which is saved with
    its weights, advances by one per sample.

    Args:
        seed: Seed of the draws made without keys.
        **kwargs: Of `keras.Layer`. The layer computes in float32 whatever the global policy.

    Attributes:
        augments: Whether the layer is the identity in inference; generators always draw.
    """

    augments = False

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        self.seed = int(seed)
        self.counter = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="counter"
        )

    def sample(self, keys: Array, shape: Sequence[int]) -> Params:
        """Draw this layer's parameters for volumes of spatial `shape`, one set per key."""
        raise NotImplementedError

    def apply(self, x: Array, params: Params) -> Array:
        """Apply drawn parameters; draws nothing."""
        raise NotImplementedError

    def next_keys(self, count: Array) -> Array:
        """Take `count` fresh keys from the layer's own counter."""
        base = ops.broadcast_to(keys_for(self.seed, [0], self.__class__.__name__), (count, 2))
        keys = fold_in(base, ops.convert_to_tensor(self.counter) + ops.arange(count, dtype="int32"))
        self.counter.assign_add(count)
        return keys

    def call(self, x: Array, keys: Array | None = None, training: bool | None = None) -> Array:
        """Draw and apply."""
        if self.augments and not training:
            return x
        if keys is None:
            keys = self.next_keys(ops.shape(x)[0])
        return self.apply(x, self.sample(keys, tuple(x.shape[1:4])))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Shapes do not change unless a subclass says so."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        config: dict[str, Any] = super().get_config()
        config.pop("autocast", None)
        return {**config, "seed": self.seed}
