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
from anyvox_keras.random.random_layer import (
    Params,
    RandomLayer,
    Range,
    RangeLike,
    chance,
    integer,
    ranged,
)
from anyvox_keras.random.smooth_noise import smooth_noise

__all__ = [
    "Draw",
    "Params",
    "Plan",
    "RandomLayer",
    "Range",
    "RangeLike",
    "bernoulli",
    "bits",
    "chance",
    "choice",
    "draw_all",
    "fold_in",
    "integer",
    "integers",
    "keys_for",
    "normal",
    "permutation",
    "ranged",
    "smooth_noise",
    "threefry2x32",
    "uniform",
]
