"""Fine-tune one displacement by gradient descent: the steps, and the loss they make small."""

import math
from collections.abc import Callable
from itertools import accumulate

from keras import ops

from anyvox_keras.backend import value_and_gradient
from anyvox_keras.ops import box_filter, integrate_velocity
from anyvox_keras.registration.deformable.cost_volume import unit_length
from anyvox_keras.registration.deformable.coupled_convex import sample_displaced
from anyvox_keras.registration.deformable.settings import AdamSettings
from anyvox_keras.registration.deformable.terms import Terms
from anyvox_keras.types import Array, Function

Pair = tuple[Array, Array]

# torch's Adam, which the law names.
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
# ConvexAdam's weight of the similarity.
_SIMILARITY = 12.0
# squared chord below which a chord is as smooth as its square
_ROUND = 1e-2
# of what labels differ by: as one minus the cosine of vectors of length one
_LABELS = 0.5 * _SIMILARITY
# side of the window of a local correlation
_WINDOW = 5
# variance, of an image's own, below which a window holds nothing to correlate
_FLAT = 1e-3
# from the fixed image to the moving one, and the other way: the step through a pair of them
_THERE, _BACK = 1, -1


def instance_optimisation(
    fixed: Array, moving: Array, displacement: Array, settings: AdamSettings | None = None,
    weights: Pair | None = None, images: Pair | None = None, terms: Terms | None = None,
) -> Array:  # fmt: skip
    """Descend with Adam on the match of the features and the smoothness of the displacement.

    With parameters `p`, started at the displacement, `u = box^passes p`, which counts zeros outside
    or what `settings.slack` makes of them, the mean over voxels and
    `D_a` the forward difference along axis `a`, the loss is

        12 mean_c (moving_c(x + u) - fixed_c)^2 + smoothness sum_a mean (D_a u)^2

    With weights of what is known, each voxel's mismatch is multiplied by `w_f(x) w_m(x + u)`, so
    that nothing is gained by moving out of what is known; with images their local correlation
    counts, too, and so do labels and landmarks (see `descent_loss`).

    The smoothed field of the last step's forward pass is returned.

    Args:
        fixed: `(1, D, H, W, C)` float32 features.
        moving: The same shape.
        displacement: `(1, D, H, W, 3)` to start from, in voxels of this grid.
        settings: See `AdamSettings`; the default is ConvexAdam's.
        weights: `(1, D, H, W, 1)` in `[0, 1]`, of the fixed and of the moving features.
        images: `(1, D, H, W, n)`, the fixed and the moving image, zero where dark, of variance
            one; used where `settings.correlation` is not zero.
        terms: Labels and landmarks, or none.

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
    gradient = value_and_gradient(descent_loss(fixed, moving, settings, weights, images, terms))

    def step(i: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        parameters, first, second, used, _ = state
        smooth = _smooth(parameters, settings.passes) + outside
        _, slope = gradient(smooth)
        # the mean that counts zeros outside is symmetric: the gradient goes back through itself
        slope = _smooth(slope, settings.passes)
        parameters, first, second = adam_step(
            parameters, slope, first, second, i, settings.learning_rate
        )
        change = ops.mean(ops.abs(smooth - used))
        return parameters, first, second, smooth, change

    start = ops.convert_to_tensor(displacement)
    outside = _from_outside(start, settings)
    smooth = _descend(step, start, settings)
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


def _from_outside(start: Array, settings: AdamSettings) -> Array:
    """What the smoothing is to add where it counts zeros outside; see `AdamSettings.slack`."""
    if math.isinf(settings.slack):
        return ops.zeros((), "float32")
    mean = ops.mean(start, axis=(1, 2, 3), keepdims=True)
    excess = ops.sign(mean) * ops.maximum(ops.abs(mean) - settings.slack, 0.0)
    return excess * (1.0 - _smooth(ops.ones_like(start), settings.passes))


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


def descent_loss(
    fixed: Array, moving: Array, settings: AdamSettings, weights: Pair | None = None,
    images: Pair | None = None, terms: Terms | None = None,
) -> Callable[[Array], Array]:  # fmt: skip
    """Return the loss as a function of the smoothed parameters.

    With `w` the product of both sides' weights at `x` and `x + u`, a constant of each step, and
    `r` the correlation over cubes of five voxels, weighted by `w`:

        mean w (12 mean_c distance_c + correlation (1 - r^2)) + smoothness sum_a mean (D_a u)^2

    The square makes it blind to the contrast: a bright edge may meet a dark one. Of several
    channels the mean `r^2` counts. With labels `l`, shares of a voxel times the root of their
    weight, and landmarks comes, their mean over the voxels and their sum over the points,

        6 mean w sum_k (l_k,moving(x + u) - l_k,fixed(x))^2 + pull sum_n |u(p_n) - step_n|^2

    Args:
        fixed: `(1, D, H, W, C)` float32 features.
        moving: The same shape.
        settings: See `AdamSettings`.
        weights: `(1, D, H, W, 1)` each, how much of a voxel is known.
        images: `(1, D, H, W, n)` each, zero where dark, of variance one; none compares features
            only.
        terms: Labels and landmarks, or none.
    """
    channels, distance = fixed.shape[-1], _chord if settings.distance == "chord" else ops.square
    # one minus the cosine is half the squared distance of vectors of length one
    factor = (
        _SIMILARITY * {"squared": 1.0, "cosine": 0.5 * channels, "chord": 0.5}[settings.distance]
    )
    # What is unknown travels as one more channel: beyond the grid, zero, all is known.
    unknown = None if weights is None else tuple(1.0 - ops.convert_to_tensor(w) for w in weights)
    labels = None if terms is None else terms.labels
    parts = ((fixed, moving), unknown, images, labels)
    ends = list(accumulate(0 if part is None else part[0].shape[-1] for part in parts))[:-1]
    sides = [part for part in parts if part is not None]
    fixed, moving = (ops.concatenate(side, axis=-1) for side in zip(*sides, strict=True))
    onto = None if images is None else tuple(squared_correlations(image) for image in images)

    def mismatch(way: int, displacement: Array) -> Array:
        still, moved = (fixed, moving)[::way]
        warped = sample_displaced(moved, displacement, settings.stretch)
        # split at once: the gradient of each slice would be a whole array of its own
        compared, gaps, pictured, labelled = ops.split(warped, ends, axis=-1)
        still, still_gaps, _, still_labelled = ops.split(still, ends, axis=-1)
        different = distance(compared - still)
        known = None
        if weights is not None:
            known = ops.stop_gradient((1.0 - gaps) * (1.0 - still_gaps))
            different = different * known
        total = factor * ops.mean(different)
        if terms is not None:
            total = total + terms.distance(displacement, way)
        if labels is not None:
            unlike = ops.square(labelled - still_labelled)
            unlike = ops.sum(unlike, axis=-1, keepdims=True)
            total = total + _LABELS * ops.mean(unlike if known is None else unlike * known)
        if onto is None:
            return total
        unlike = 1.0 - onto[::way][0](pictured, known)
        unlike = unlike if known is None else unlike * known
        return total + settings.correlation * ops.mean(unlike)

    def loss(smooth: Array) -> Array:
        penalty = settings.smoothness * _roughness(smooth)
        if not settings.velocity:
            return mismatch(_THERE, smooth) + penalty
        forward = mismatch(_THERE, integrate_velocity(smooth, outside="zeros"))
        if not settings.symmetric:
            return forward + penalty
        backward = mismatch(_BACK, integrate_velocity(-smooth, outside="zeros"))
        return 0.5 * (forward + backward) + penalty

    return loss


def squared_correlations(first: Array) -> Callable[[Array, Array | None], Array]:
    """Return the mean `squared_correlation` of several channels, `(B, D, H, W, n)` each."""
    count = first.shape[-1]
    if count == 1:
        return squared_correlation(first)
    each = [squared_correlation(first[..., n : n + 1]) for n in range(count)]

    def correlation(second: Array, known: Array | None) -> Array:
        found = (one(second[..., n : n + 1], known) for n, one in enumerate(each))
        return sum(found) * (1.0 / count)

    return correlation


def squared_correlation(first: Array) -> Callable[[Array, Array | None], Array]:
    """Return the squared correlation with an image over the cube of five voxels around each.

    Where all is known, the image's own means are taken once.

    Args:
        first: `(B, D, H, W, 1)` float32, of a variance about one.

    Returns:
        A function of the second image and of how much each voxel counts, of the same shape; `None`
        counts all. It returns `(B, D, H, W, 1)` in `[0, 1]`; 0 where either is flat.
    """
    first = ops.convert_to_tensor(first)
    own = (ops.ones_like(first), first, first * first)
    whole = _window_means(own, None)

    def correlation(second: Array, known: Array | None) -> Array:
        here = whole if known is None else _window_means(own, known)
        there = _window_means((second, second * second, first * second), known)
        a, aa, b, bb, ab = (mean / (here[0] + 1e-6) for mean in (*here[1:], *there))
        vary = (ops.relu(x - y * y) + _FLAT for x, y in ((aa, a), (bb, b)))
        return ops.square(ab - a * b) / (next(vary) * next(vary))

    return correlation


def _window_means(images: tuple[Array, Array, Array], known: Array | None) -> list[Array]:
    parts = ops.concatenate(images, axis=-1)
    means = box_filter(parts if known is None else parts * known, _WINDOW)
    return [means[..., n : n + 1] for n in range(len(images))]


def _chord(difference: Array) -> Array:
    square = ops.sum(ops.square(difference), axis=-1, keepdims=True)
    return ops.sqrt(square + _ROUND)


def _roughness(u: Array) -> Array:
    return sum(
        ops.mean(ops.square(_part(u, axis, 1, None) - _part(u, axis, 0, -1))) for axis in (1, 2, 3)
    )


def _part(x: Array, axis: int, start: int, stop: int | None) -> Array:
    return x[(slice(None),) * axis + (slice(start, stop),)]
