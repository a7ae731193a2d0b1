"""The base of layers whose draws are a plan."""

from collections.abc import Sequence
from typing import Any

from anyvox_keras import random
from anyvox_keras.ops._backend import Array
from anyvox_keras.random.keyed_layer import Params


class PlannedLayer(random.KeyedLayer):
    """A random layer that tells what it draws before it draws.

    A layer made of others joins their plans, so that all small draws of a volume are one operation.
    Subclasses write `plan`, and `finish` where parameters are more than the drawn values.
    """

    def build(self, *_: Any) -> None:
        """The counters exist from the start; what a call needs depends on nothing else."""
        self.built = True

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
