"""Counter-based random numbers: one seed, one data set, on any backend."""

from anyvox_keras.random.draws import (
    Draw,
    Plan,
    bernoulli,
    bits,
    choice,
    draw_all,
    integers,
    normal,
    permutation,
    uniform,
)
from anyvox_keras.random.keys import fold_in, keys_for, threefry2x32
from anyvox_keras.random.random_layer import RandomLayer, Range, RangeLike
from anyvox_keras.random.smooth_noise import smooth_noise

__all__ = [
    "Draw",
    "RandomLayer",
    "Plan",
    "Range",
    "RangeLike",
    "bernoulli",
    "bits",
    "choice",
    "draw_all",
    "fold_in",
    "integers",
    "keys_for",
    "normal",
    "permutation",
    "smooth_noise",
    "threefry2x32",
    "uniform",
]
