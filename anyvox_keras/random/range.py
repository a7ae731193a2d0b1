"""The class that parses every range argument of the package."""

import math
from collections.abc import Sequence

from anyvox_keras.random.draws import uniform
from anyvox_keras.types import Array


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
