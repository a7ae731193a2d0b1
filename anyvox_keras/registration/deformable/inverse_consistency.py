"""Make a forward and a backward displacement agree."""

from typing import Any

from keras import ops

from anyvox_keras.ops import identity_grid, sample_linear

Array = Any


def inverse_consistency(
    forward: Array, backward: Array, iterations: int = 15, stretch: bool = False
) -> tuple[Array, Array]:
    """Move two displacements towards being each other's inverse.

    Both at once, `iterations` times, with zero outside the grid:

        f(x) <- (f(x) - b(x + f(x))) / 2,        b(x) <- (b(x) - f(x + b(x))) / 2

    Args:
        forward: `(B, D, H, W, 3)` in voxels.
        backward: The same shape.
        iterations: How often.
        stretch: Look up at `x + u n / (n - 1)`, as ConvexAdam does.

    Returns:
        The two displacements.

    Reference:
        Siebert et al., ConvexAdam, IEEE TMI 2024.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import inverse_consistency

        shift = np.ones((1, 8, 8, 8, 3), "float32")
        forward, backward = inverse_consistency(shift, -shift)
        ```
    """

    def step(_: Array, fields: tuple[Array, Array]) -> tuple[Array, Array]:
        f, b = fields
        return (
            0.5 * (f - sample_displaced(b, f, stretch)),
            0.5 * (b - sample_displaced(f, b, stretch)),
        )

    start = (ops.convert_to_tensor(forward), ops.convert_to_tensor(backward))
    result: tuple[Array, Array] = ops.fori_loop(0, iterations, step, start)
    return result


def sample_displaced(x: Array, displacement: Array, stretch: bool = False) -> Array:
    """Read `x` at `x + u(x)`, zeros outside; with `stretch` at `x + u n / (n - 1)`.

    ConvexAdam normalises displacements by `n - 1` voxels but coordinates by `n`; its results can
    be reproduced only with the same stretch.
    """
    shape = displacement.shape[1:4]
    if stretch:
        factors = [n / max(n - 1, 1) for n in shape]
        displacement = displacement * ops.convert_to_tensor(factors, "float32")
    return sample_linear(x, displacement + ops.convert_to_tensor(identity_grid(shape)))
