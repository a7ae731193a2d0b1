"""Where a map comes from."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras.ops import sample_linear
from anyvox_keras.ops._backend import compiled, no_gradient, to_numpy

Array = Any
_ITERATIONS = 40
# Half steps converge wherever the map does not fold; full ones only where it shears little.
_STEP = 0.5


def inverse_at(displacement: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Solve `x + u(x) = y` for given `y` by damped fixed-point iteration.

    `x <- x + (y - x - u(x)) / 2`, 40 times; beyond its grid `u` keeps the value of its edge.

    Args:
        displacement: `(D, H, W, 3)` in voxels.
        points: `(d, h, w, 3)` voxel coordinates `y` in the displacement's grid.

    Returns:
        `(d, h, w, 3)` float32 coordinates `x`.

    Reference:
        Chen et al., A simple fixed-point approach to invert a deformation field, Med. Phys. 2008.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import identity_grid
        from anyvox_keras.registration import inverse_at

        x = inverse_at(np.full((8, 8, 8, 3), 0.5, "float32"), identity_grid((8, 8, 8)))
        ```
    """
    arrays = (np.asarray(a, "float32")[None] for a in (displacement, points))
    with no_gradient():
        result = _solver()(*(ops.convert_to_tensor(a) for a in arrays))
        return to_numpy(result)[0]


def solve_inverse(displacement: Array, points: Array) -> Array:
    """The pure function behind `inverse_at`, of `(B, ...)` arrays, for use inside a graph."""

    def step(_: Array, x: Array) -> Array:
        moved = x + sample_linear(displacement, x, outside="edge")
        return x + _STEP * (points - moved)

    start = points - sample_linear(displacement, points, outside="edge")
    return ops.fori_loop(0, _ITERATIONS, step, start)


@cache
def _solver() -> Callable[[Array, Array], Array]:
    return compiled(solve_inverse)
