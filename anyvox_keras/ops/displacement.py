"""Displacement fields: warping, composing, integrating, inverting, measuring.

A displacement `u`, `(B, D, H, W, 3)` float32 in voxels and `ij` order, pulls back:
`moved(x) = moving(x + u(x))`.
"""

from keras import ops

from anyvox_keras.errors import check_volumes, one_of
from anyvox_keras.ops.sample import identity_grid, sample_linear, sample_nearest
from anyvox_keras.types import Array, Interpolation, Outside


def warp(
    x: Array, displacement: Array, method: Interpolation = "linear", outside: Outside = "zeros"
) -> Array:
    """Pull a volume back through a displacement: `moved(x) = moving(x + u(x))`.

    Args:
        x: `(B, D, H, W, C)`, or labels `(B, D, H, W)` with `method="nearest"`.
        displacement: `(B, d, h, w, 3)` in voxels; its grid is the output's.
        method: "linear" or "nearest".
        outside: What lies beyond the grid, see `sample_linear`.

    Returns:
        The warped volume on the displacement's grid.

    Raises:
        ValueError: If `method` is unknown, the displacement has no three components, `x` is no
            batch of volumes, or the batches differ.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import warp

        x = np.random.rand(1, 8, 8, 8, 1).astype("float32")
        same = warp(x, np.zeros((1, 8, 8, 8, 3), "float32"))
        ```
    """
    check_volumes("displacement", displacement, 3)
    _check_warped(x, displacement, method)
    samplers = {"linear": sample_linear, "nearest": sample_nearest}
    return samplers[method](x, _points(displacement), outside)


def _check_warped(x: Array, displacement: Array, method: Interpolation) -> None:
    one_of("method", method, Interpolation)
    if method == "linear" or len(x.shape) != 4:
        check_volumes("x", x)
    batches = {n for n in (x.shape[0], displacement.shape[0]) if isinstance(n, int)}
    if len(batches) > 1:
        raise ValueError(
            "`x` and `displacement` must be batches (B, D, H, W, ...) of the same size. "
            f"Received: {x.shape[0]} and {displacement.shape[0]}"
        )


def _points(displacement: Array) -> Array:
    grid = ops.convert_to_tensor(identity_grid(displacement.shape[1:4]))
    return ops.cast(displacement, "float32") + grid


def compose(first: Array, second: Array, outside: Outside = "edge") -> Array:
    """Join two displacements into the one that warps by the first, then by the second.

    `warp(warp(m, first), second) = warp(m, compose(first, second))`, up to interpolation.
    `(first o second)(x) = second(x) + first(x + second(x))`; beyond the grid `first` keeps the
    value of its edge, so that translations compose.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import compose

        shift = np.ones((1, 8, 8, 8, 3), "float32")
        twice = compose(shift, shift)
        ```
    """
    for name, field in (("first", first), ("second", second)):
        check_volumes(name, field, 3)
    return ops.convert_to_tensor(second) + warp(first, second, outside=outside)


def integrate_velocity(velocity: Array, steps: int = 7, outside: Outside = "edge") -> Array:
    """Integrate a stationary velocity field over unit time by scaling and squaring.

    `u_0 = v / 2^steps`, then `u <- u o u`, `steps` times.

    Raises:
        ValueError: If `velocity` is no displacement, or `steps` no whole number from 0 up.

    Reference:
        Arsigny et al., A log-Euclidean framework for statistics on diffeomorphisms, MICCAI 2006.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import integrate_velocity

        u = integrate_velocity(np.full((1, 8, 8, 8, 3), 0.5, "float32"))
        ```
    """
    check_volumes("velocity", velocity, 3)
    if not isinstance(steps, int) or steps < 0:
        raise ValueError(f"`steps` must be >= 0, a whole number. Received: steps={steps!r}")
    displacement = velocity / 2.0**steps
    for _ in range(steps):
        displacement = compose(displacement, displacement, outside)
    return displacement


def invert_displacement(displacement: Array, iterations: int = 40) -> Array:
    """Find the displacement `v` of the inverse map on the same grid: `v(y) + u(y + v(y)) = 0`.

    Args:
        displacement: `(B, D, H, W, 3)` in voxels.
        iterations: Number of steps, see `inverse_points`.

    Returns:
        The same shape.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import invert_displacement

        v = invert_displacement(np.full((1, 8, 8, 8, 3), 0.5, "float32"))
        ```
    """
    check_volumes("displacement", displacement, 3)
    grid = ops.convert_to_tensor(identity_grid(displacement.shape[1:4]))[None]
    return inverse_points(displacement, grid, iterations) - grid


def inverse_points(displacement: Array, points: Array, iterations: int = 40) -> Array:
    """Solve `x + u(x) = y` for given `y` by damped fixed-point iteration.

    `x <- x + (y - x - u(x)) / 2`; beyond its grid `u` keeps the value of its edge. Half steps
    converge wherever the map does not fold; full ones only where it shears little.

    Args:
        displacement: `(B, D, H, W, 3)` in voxels.
        points: `(B, d, h, w, 3)` voxel coordinates `y` in the displacement's grid.
        iterations: Number of steps.

    Returns:
        `(B, d, h, w, 3)` coordinates `x`.

    Reference:
        Chen et al., A simple fixed-point approach to invert a deformation field, Med. Phys. 2008.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import identity_grid, inverse_points

        shift = np.full((1, 8, 8, 8, 3), 0.5, "float32")
        x = inverse_points(shift, identity_grid((4, 4, 4))[None])
        ```
    """
    check_volumes("displacement", displacement, 3)
    check_volumes("points", points, 3)
    displacement, points = ops.convert_to_tensor(displacement), ops.convert_to_tensor(points)

    def step(_: Array, x: Array) -> Array:
        moved = x + sample_linear(displacement, x, outside="edge")
        return x + 0.5 * (points - moved)

    start = points - sample_linear(displacement, points, outside="edge")
    return ops.fori_loop(0, iterations, step, start)


def jacobian_determinant(displacement: Array) -> Array:
    """Determinant of `d(x + u)/dx` by central differences, one-sided at the faces.

    Args:
        displacement: `(B, D, H, W, 3)` with at least 2 voxels per axis.

    Returns:
        `(B, D, H, W)` float32; zero or below where the map folds.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import jacobian_determinant

        determinant = jacobian_determinant(np.zeros((1, 8, 8, 8, 3), "float32"))
        ```
    """
    check_volumes("displacement", displacement, 3)
    rows = [_central_difference(displacement, axis) for axis in (1, 2, 3)]
    (a, b, c), (d, e, f), (g, h, i) = (
        [row[..., part] + (1.0 if part == axis else 0.0) for part in range(3)]
        for axis, row in enumerate(rows)
    )
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _central_difference(x: Array, axis: int) -> Array:
    size = x.shape[axis]
    if size < 2:
        raise ValueError(
            f"`displacement` needs at least 2 voxels per axis. Received: {tuple(x.shape)}"
        )

    def part(start: int, stop: int) -> Array:
        return x[(slice(None),) * axis + (slice(start, stop),)]

    first, last = part(1, 2) - part(0, 1), part(size - 1, size) - part(size - 2, size - 1)
    middle = [(part(2, size) - part(0, size - 2)) * 0.5] if size > 2 else []
    return ops.concatenate([first, *middle, last], axis=axis)
