"""The base of layers that change all volumes of a sample alike."""

from typing import Any

import keras
from keras import ops

from anyvox_keras.backend import Array
from anyvox_keras.random.random_layer import RandomLayer

Pair = dict[str, Array]


class PairLayer(RandomLayer):
    """A random layer of volumes by name, which share its parameters.

    Call arguments:
        x: Images `(B, D, H, W, C)` float and label maps `(B, D, H, W)` int, by name.
    """

    def draw(self, x: Pair, keys: Array) -> Pair:
        """Draw once per sample and apply to every volume."""
        return self.apply(x, self.sample(keys, spatial_shape(x)))

    def batch_size(self, x: Pair) -> Array:
        """Return the number of samples of the volumes."""
        return ops.shape(next(iter(x.values())))[0]

    def compute_output_spec(self, x: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The same volumes."""
        return {name: keras.KerasTensor(v.shape, v.dtype) for name, v in x.items()}


def spatial_shape(x: dict[str, Any]) -> tuple[int, ...]:
    """`(D, H, W)` that the volumes share."""
    return tuple(next(iter(x.values())).shape[1:4])
