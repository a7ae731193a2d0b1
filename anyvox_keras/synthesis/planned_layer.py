"""The base of layers whose draws are a plan."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from anyvox_keras import random
from anyvox_keras.ops._backend import Array, recorded
from anyvox_keras.random.keyed_layer import Params


class PlannedLayer(random.KeyedLayer):
    """A random layer that tells what it draws before it draws.

    A layer made of others joins their plans, so that all small draws of a volume are one operation.
    Subclasses write `plan`, and `finish` where parameters are more than the drawn values.
    """

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        # Operation by operation, JAX would compile each loop and branch anew at every call.
        self._draw = recorded(self.draw)

    def build(self, *_: Any) -> None:
        """The counters exist from the start; what a call needs depends on nothing else."""
        self.built = True

    def draw(self, x: Any, keys: Array) -> Any:
        """Draw and apply, `apply(x, sample(keys, shape))`: what `call` compiles."""
        return self.apply(x, self.sample(keys, tuple(x.shape[1:4])))

    def batch_size(self, x: Any) -> Array:
        """How many keys `x` needs."""
        return ops.shape(x)[0]

    def call(self, x: Any, keys: Array | None = None, training: bool | None = None) -> Any:
        """Draw and apply; an augmenter is the identity in inference."""
        if self.augments and not training:
            return x
        if keys is None:
            keys = self.next_keys(self.batch_size(x))
        return self._draw(x, ops.convert_to_tensor(keys, "int32"))

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """Tell what is drawn per sample for volumes of spatial `shape`, by name."""
        raise NotImplementedError

    def finish(self, drawn: Params, shape: Sequence[int]) -> Params:
        """Turn drawn values into parameters."""
        return drawn

    def sample(self, keys: Array, shape: Sequence[int]) -> Params:
        """Draw this layer's parameters for volumes of spatial `shape`, one set per key."""
        return self.finish(random.draw_all(keys, self.plan(shape)), shape)


def ranged(value: random.Range, *shape: int) -> random.Draw:
    """Plan uniform draws between the ends of a range."""
    return random.Draw("uniform", shape, value.low, value.high)


def chance(probability: float) -> random.Draw:
    """Plan a decision."""
    return random.Draw("bernoulli", (), 0.0, probability)


def integer(low: Any, high: Any, *shape: int) -> random.Draw:
    """Plan integers in [low, high)."""
    return random.Draw("integers", shape, low, high)
