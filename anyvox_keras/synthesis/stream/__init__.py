"""The endless stream that `fit` is given, and what it is bound to."""

from anyvox_keras.synthesis.stream.synthetic_stream import SyntheticPairs, SyntheticStream
from anyvox_keras.synthesis.stream.with_synthesis import WithSynthesis

__all__ = [
    "SyntheticPairs",
    "SyntheticStream",
    "WithSynthesis",
]
