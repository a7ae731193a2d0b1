"""The packed templates of a batch."""

from typing import NamedTuple

from anyvox_keras.backend import Array


class Shapes(NamedTuple):
    """What `overlay` paints.

    Attributes:
        words: `(W,)` int32, all samples' words one after the other.
        offsets: `(B, K)` int32, in words.
        sizes: `(B, K, 3)` int32.
    """

    words: Array
    offsets: Array
    sizes: Array
