"""Fine-tune one displacement by gradient descent."""

from keras import ops

from anyvox_keras.backend import value_and_gradient
from anyvox_keras.ops import box_filter, integrate_velocity
from anyvox_keras.registration.deformable.adam_settings import AdamSettings
from anyvox_keras.registration.deformable.cost_volume import unit_length
from anyvox_keras.registration.deformable.descent_loss import descent_loss
from anyvox_keras.types import Array, Function

# torch's Adam, which the law names.
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


def instance_optimisation(
    fixed: Array, moving: Array, displacement: Array, settings: AdamSettings | None = None,
    weights: tuple[Array, Array] | None = None, images: tuple[Array, Array] | None = None,
) -> Array:  # fmt: skip
    """Descend with Adam on the match of the features and the smoothness of the displacement.

    With parameters `p`, started at the displacement, `u = box^passes p`, the mean over voxels and
    `D_a` the forward difference along axis `a`, the loss is

        12 mean_c (moving_c(x + u) - fixed_c)^2 + smoothness sum_a mean (D_a u)^2

    With weights of what is known, each voxel's mismatch is multiplied by `w_f(x) w_m(x + u)`, so
    that nothing is gained by moving out of what is known; with images their local correlation
    counts, too (see `descent_loss`).

    The smoothed field of the last step's forward pass is returned.

    Args:
        fixed: `(1, D, H, W, C)` float32 features.
        moving: The same shape.
        displacement: `(1, D, H, W, 3)` to start from, in voxels of this grid.
        settings: See `AdamSettings`; the default is ConvexAdam's.
        weights: `(1, D, H, W, 1)` in `[0, 1]`, of the fixed and of the moving features.
        images: `(1, D, H, W, 1)`, the fixed and the moving image, zero where dark, of variance
            one; used where `settings.correlation` is not zero.

    Returns:
        `(1, D, H, W, 3)` float32 displacement in voxels of this grid.

    Reference:
        Siebert et al., ConvexAdam, IEEE TMI 2024.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import AdamSettings, instance_optimisation

        x = np.random.rand(1, 8, 8, 8, 4).astype("float32")
        start = np.zeros((1, 8, 8, 8, 3), "float32")
        displacement = instance_optimisation(x, x, start, AdamSettings(iterations=5))
        ```
    """
    settings = settings or AdamSettings()
    fixed, moving = ops.convert_to_tensor(fixed), ops.convert_to_tensor(moving)
    if settings.distance != "squared":
        fixed, moving = unit_length(fixed), unit_length(moving)
    images = images if settings.correlation else None
    gradient = value_and_gradient(descent_loss(fixed, moving, settings, weights, images))

    def step(i: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        parameters, first, second, used, _ = state
        smooth = _smooth(parameters, settings.passes)
        _, slope = gradient(smooth)
        # the mean that counts zeros outside is symmetric: the gradient goes back through itself
        slope = _smooth(slope, settings.passes)
        parameters, first, second = adam_step(
            parameters, slope, first, second, i, settings.learning_rate
        )
        change = ops.mean(ops.abs(smooth - used))
        return parameters, first, second, smooth, change

    smooth = _descend(step, ops.convert_to_tensor(displacement), settings)
    return integrate_velocity(smooth, outside="zeros") if settings.velocity else smooth


def _descend(step: Function, start: Array, settings: AdamSettings) -> Array:
    zeros = ops.zeros_like(start)
    state = (start, zeros, zeros, start, ops.convert_to_tensor(1e9, "float32"))
    if settings.tolerance == 0:
        return ops.fori_loop(0, settings.iterations, step, state)[3]

    def going(i: Array, state: tuple[Array, ...]) -> Array:
        return ops.logical_and(i < settings.iterations, state[4] >= settings.tolerance)

    def advance(i: Array, state: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        return i + 1, step(i, state)

    return ops.while_loop(going, advance, (ops.convert_to_tensor(0, "int32"), state))[1][3]


def _smooth(parameters: Array, passes: int) -> Array:
    """Smooth in a loop of the graph: unrolled, XLA computes the means anew for each reader."""
    return ops.fori_loop(0, passes, lambda _, x: box_filter(x), parameters)


def adam_step(
    x: Array, slope: Array, first: Array, second: Array, i: Array, rate: float
) -> tuple[Array, Array, Array]:
    """Step number `i`, from zero, of torch's Adam: new parameters and the two running means."""
    count = ops.cast(i, "float32") + 1.0
    first = _BETA1 * first + (1 - _BETA1) * slope
    second = _BETA2 * second + (1 - _BETA2) * ops.square(slope)
    mean = first / (1 - ops.power(_BETA1, count))
    variance = second / (1 - ops.power(_BETA2, count))
    return x - rate * mean / (ops.sqrt(variance) + _EPSILON), first, second
