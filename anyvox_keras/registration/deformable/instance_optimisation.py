"""Fine-tune one displacement by gradient descent."""

from collections.abc import Callable
from dataclasses import dataclass

from keras import ops

from anyvox_keras.backend import value_and_gradient
from anyvox_keras.errors import one_of
from anyvox_keras.ops import box_filter, integrate_velocity
from anyvox_keras.registration.deformable.cost_volume import unit_length
from anyvox_keras.registration.deformable.coupled_convex import sample_displaced
from anyvox_keras.types import Array, Distance, Function

# torch's Adam, which the law names.
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
# ConvexAdam's weight of the similarity.
_SIMILARITY = 12.0


@dataclass(frozen=True)
class AdamSettings:
    """How `instance_optimisation` descends.

    Args:
        iterations: At most this many steps.
        learning_rate: Adam's, in voxels a step.
        smoothness: Weight of the squared differences of neighbouring displacements.
        passes: 3x3x3 means (zeros outside count) that smooth the parameters before use.
        distance: "squared" or "cosine" between feature vectors.
        velocity: The parameters are a stationary velocity, integrated by scaling and squaring, so
            that the map is a diffeomorphism.
        symmetric: With `velocity`, compare in both directions, through the exponential of `v` and
            of `-v`.
        tolerance: Stop when a step moves the mean voxel by less than this many voxels.
        stretch: Sample as ConvexAdam does, see `sample_displaced`.
    """

    iterations: int = 80
    learning_rate: float = 1.0
    smoothness: float = 0.75
    passes: int = 3
    distance: Distance = "squared"
    velocity: bool = False
    symmetric: bool = False
    tolerance: float = 0.0
    stretch: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.iterations < 1:
            raise ValueError(f"`iterations` must be >= 1. Received: iterations={self.iterations}")
        if self.smoothness < 0 or self.tolerance < 0 or self.learning_rate <= 0:
            raise ValueError(
                "`smoothness` and `tolerance` must be >= 0 and `learning_rate` > 0. "
                f"Received: {self.smoothness}, {self.tolerance}, {self.learning_rate}"
            )
        one_of("distance", self.distance, Distance)
        if self.symmetric and not self.velocity:
            raise ValueError("`symmetric` needs `velocity=True`. Received: velocity=False")


def instance_optimisation(
    fixed: Array, moving: Array, displacement: Array, settings: AdamSettings | None = None,
    weights: tuple[Array, Array] | None = None,
) -> Array:  # fmt: skip
    """Descend with Adam on the match of the features and the smoothness of the displacement.

    With parameters `p`, started at the displacement, `u = box^passes p`, the mean over voxels and
    `D_a` the forward difference along axis `a`, the loss is

        12 mean_c (moving_c(x + u) - fixed_c)^2 + smoothness sum_a mean (D_a u)^2

    With weights of what is known, each voxel's mismatch is multiplied by `w_f(x) w_m(x + u)`, a
    constant of each step, so that nothing is gained by moving out of what is known.

    The smoothed field of the last step's forward pass is returned.

    Args:
        fixed: `(1, D, H, W, C)` float32 features.
        moving: The same shape.
        displacement: `(1, D, H, W, 3)` to start from, in voxels of this grid.
        settings: See `AdamSettings`; the default is ConvexAdam's.
        weights: `(1, D, H, W, 1)` in `[0, 1]`, of the fixed and of the moving features.

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
    if settings.distance == "cosine":
        fixed, moving = unit_length(fixed), unit_length(moving)
    gradient = value_and_gradient(_loss(fixed, moving, settings, weights))

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


def _loss(
    fixed: Array, moving: Array, settings: AdamSettings, weights: tuple[Array, Array] | None
) -> Callable[[Array], Array]:
    """Return the loss as a function of the smoothed parameters."""
    channels = fixed.shape[-1]
    factor = _SIMILARITY * (0.5 * channels if settings.distance == "cosine" else 1.0)
    if weights is not None:
        # what is unknown travels as one more channel: beyond the grid, zero, all is known
        fixed, moving = (
            ops.concatenate([x, 1.0 - weight], axis=-1)
            for x, weight in zip((fixed, moving), weights, strict=True)
        )

    def mismatch(still: Array, moved: Array, displacement: Array) -> Array:
        warped = sample_displaced(moved, displacement, settings.stretch)
        square = ops.square(warped[..., :channels] - still[..., :channels])
        if weights is not None:
            known = (1.0 - warped[..., channels:]) * (1.0 - still[..., channels:])
            square = square * ops.stop_gradient(known)
        return factor * ops.mean(square)

    def loss(smooth: Array) -> Array:
        penalty = settings.smoothness * _roughness(smooth)
        if not settings.velocity:
            return mismatch(fixed, moving, smooth) + penalty
        forward = mismatch(fixed, moving, integrate_velocity(smooth, outside="zeros"))
        if not settings.symmetric:
            return forward + penalty
        backward = mismatch(moving, fixed, integrate_velocity(-smooth, outside="zeros"))
        return 0.5 * (forward + backward) + penalty

    return loss


def _smooth(parameters: Array, passes: int) -> Array:
    """Smooth in a loop of the graph: unrolled, XLA computes the means anew for each reader."""
    return ops.fori_loop(0, passes, lambda _, x: box_filter(x), parameters)


def _roughness(u: Array) -> Array:
    return sum(
        ops.mean(ops.square(_part(u, axis, 1, None) - _part(u, axis, 0, -1))) for axis in (1, 2, 3)
    )


def _part(x: Array, axis: int, start: int, stop: int | None) -> Array:
    return x[(slice(None),) * axis + (slice(start, stop),)]


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
