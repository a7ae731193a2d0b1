"""Layers that draw, and the ranges that they draw from."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from anyvox_keras.backend import recorded
from anyvox_keras.export import Float32Layer
from anyvox_keras.random.draws import Draw, Plan, draw_all, uniform
from anyvox_keras.random.keys import fold_in, keys_for
from anyvox_keras.types import Array

Params = dict[str, Any]


class Range:
    """An interval to draw from: a number is exactly that value, a pair is uniform between its ends.

    Args:
        value: A number, a pair `(low, high)` or a `Range`.
        name: The argument's name, for the error message.
        minimum: Smallest value allowed.

    Raises:
        ValueError: If the value is no number or pair, not finite, out of order or below `minimum`.

    Example:
        ```python
        from anyvox_keras.random import Range, keys_for

        std = Range((5, 20), name="std", minimum=0)
        draws = std.sample(keys_for(0, range(2)), (40,))
        ```
    """

    def __init__(self, value: "RangeLike", name: str = "value", minimum: float = -math.inf) -> None:
        pair = value.pair if isinstance(value, Range) else value
        try:
            low, high = (pair, pair) if isinstance(pair, (int, float)) else pair
            self.low, self.high = float(low), float(high)
        except (TypeError, ValueError):
            message = f"`{name}` must be a number or a pair (low, high). Received: {name}={value}"
            raise ValueError(message) from None
        if not (math.isfinite(self.low) and math.isfinite(self.high)) or self.low > self.high:
            raise ValueError(f"`{name}` must be finite, low <= high. Received: {name}={value}")
        if self.low < minimum:
            raise ValueError(f"`{name}` must be >= {minimum:g}. Received: {name}={value}")

    @property
    def pair(self) -> tuple[float, float]:
        """`(low, high)`, as a layer's config stores it."""
        return (self.low, self.high)

    def sample(self, keys: Array, shape: Sequence[int]) -> Array:
        """Draw `(B, *shape)` float32 uniformly between the ends."""
        return uniform(keys, shape, self.low, self.high)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Range) and self.pair == other.pair

    def __hash__(self) -> int:
        return hash(self.pair)

    def __repr__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"U({self.low:g}, {self.high:g})"


RangeLike = float | Sequence[float] | Range


class RandomLayer(Float32Layer):
    """A random layer in two halves: `sample` makes all draws, `apply` is pure.

    `call(x, keys)` joins them. A layer tells what it draws before it draws (`plan`), so that a
    composite layer joins the plans of its parts and all small draws of a volume are one operation.
    Params are plain arrays: they can be recorded, replayed, injected, applied to image and labels
    alike. Without keys the layer's own counter, which is saved with its weights, advances by one
    per sample.

    Subclasses write `plan` and `apply`, and `finish` where parameters are more than drawn values.

    Args:
        seed: Seed of the draws that are made without keys.
        **kwargs: Arguments of `keras.Layer`. The layer computes in float32 under any global policy.

    Attributes:
        augments: Whether the layer is the identity in inference; generators always draw.
    """

    augments = False

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.seed = int(seed)
        self.counter = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="counter"
        )
        # Operation by operation, JAX would compile each loop and branch anew at every call.
        self._draw = recorded(self.draw)

    def build(self, *_: Any) -> None:
        """Create nothing: the counter exists already, and no weight depends on the input."""
        self.built = True

    def plan(self, shape: Sequence[int]) -> Plan:
        """Plan what is drawn per sample for volumes of spatial `shape`, by name."""
        raise NotImplementedError

    def finish(self, drawn: Params, shape: Sequence[int]) -> Params:
        """Turn drawn values into parameters."""
        return drawn

    def sample(self, keys: Array, shape: Sequence[int]) -> Params:
        """Draw this layer's parameters for volumes of spatial `shape`, one set per key."""
        return self.finish(draw_all(keys, self.plan(shape)), shape)

    def apply(self, x: Any, params: Params) -> Any:
        """Apply drawn parameters; draws nothing."""
        raise NotImplementedError

    def draw(self, x: Any, keys: Array) -> Any:
        """Draw and apply, `apply(x, sample(keys, shape))`: what `call` compiles."""
        return self.apply(x, self.sample(keys, tuple(x.shape[1:4])))

    def batch_size(self, x: Any) -> Array:
        """Return the number of keys that `x` needs."""
        return ops.shape(x)[0]

    def next_keys(self, count: Array) -> Array:
        """Take the next `count` keys from the layer's own counter."""
        base = ops.broadcast_to(keys_for(self.seed, [0], self.__class__.__name__), (count, 2))
        keys = fold_in(base, ops.convert_to_tensor(self.counter) + ops.arange(count, dtype="int32"))
        self.counter.assign_add(count)
        return keys

    def call(self, x: Any, keys: Array | None = None, training: bool | None = None) -> Any:
        """Draw and apply; an augmenter is the identity in inference."""
        if self.augments and not training:
            return x
        if keys is None:
            keys = self.next_keys(self.batch_size(x))
        return self._draw(x, ops.convert_to_tensor(keys, "int32"))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the same shape, unless a subclass changes it."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "seed": self.seed}


def ranged(value: Range, *shape: int) -> Draw:
    """Plan uniform draws between the ends of a range.

    Example:
        ```python
        from anyvox_keras.random import Range, ranged

        plan = {"sigma": ranged(Range((0, 2), "sigma"), 3)}  # three per sample
        ```
    """
    return Draw("uniform", shape, value.low, value.high)


def chance(probability: float) -> Draw:
    """Plan a decision per sample, true with the given probability.

    Example:
        ```python
        from anyvox_keras.random import chance

        plan = {"flip": chance(0.5)}
        ```
    """
    return Draw("bernoulli", (), 0.0, probability)


def integer(low: Any, high: Any, *shape: int) -> Draw:
    """Plan integers in [low, high).

    Example:
        ```python
        from anyvox_keras.random import integer

        plan = {"axis": integer(0, 3)}
        ```
    """
    return Draw("integers", shape, low, high)
