"""What the descent makes small: mismatch of features, of the images' structure, roughness."""

from collections.abc import Callable

from keras import ops

from anyvox_keras.ops import box_filter, integrate_velocity
from anyvox_keras.registration.deformable.adam_settings import AdamSettings
from anyvox_keras.registration.deformable.coupled_convex import sample_displaced
from anyvox_keras.types import Array

Pair = tuple[Array, Array]
# ConvexAdam's weight of the similarity.
_SIMILARITY = 12.0
# squared chord below which a chord is as smooth as its square
_ROUND = 1e-2
# side of the window of a local correlation
_WINDOW = 5
# variance, of an image's own, below which a window holds nothing to correlate
_FLAT = 1e-3
# from the fixed image to the moving one, and the other way: the step through a pair of them
_THERE, _BACK = 1, -1


def descent_loss(
    fixed: Array, moving: Array, settings: AdamSettings, weights: Pair | None = None,
    images: Pair | None = None,
) -> Callable[[Array], Array]:  # fmt: skip
    """Return the loss as a function of the smoothed parameters.

    With `w` the product of both sides' weights at `x` and `x + u`, a constant of each step, and
    `r` the correlation over cubes of five voxels, weighted by `w`:

        mean w (12 mean_c distance_c + correlation (1 - r^2)) + smoothness sum_a mean (D_a u)^2

    The square makes it blind to the contrast: a bright edge may meet a dark one.

    Args:
        fixed: `(1, D, H, W, C)` float32 features.
        moving: The same shape.
        settings: See `AdamSettings`.
        weights: `(1, D, H, W, 1)` each, how much of a voxel is known.
        images: `(1, D, H, W, 1)` each, zero where dark, of variance one; none compares features
            only.
    """
    channels, distance = fixed.shape[-1], _chord if settings.distance == "chord" else ops.square
    # one minus the cosine is half the squared distance of vectors of length one
    factor = (
        _SIMILARITY * {"squared": 1.0, "cosine": 0.5 * channels, "chord": 0.5}[settings.distance]
    )
    # What is unknown travels as one more channel: beyond the grid, zero, all is known.
    unknown = None if weights is None else tuple(1.0 - ops.convert_to_tensor(w) for w in weights)
    sides = [part for part in ((fixed, moving), unknown, images) if part is not None]
    fixed, moving = (ops.concatenate(side, axis=-1) for side in zip(*sides, strict=True))
    onto = None if images is None else tuple(squared_correlation(image) for image in images)

    def mismatch(way: int, displacement: Array) -> Array:
        still, moved = (fixed, moving)[::way]
        warped = sample_displaced(moved, displacement, settings.stretch)
        different = distance(warped[..., :channels] - still[..., :channels])
        known = None
        if weights is not None:
            at = slice(channels, channels + 1)
            known = ops.stop_gradient((1.0 - warped[..., at]) * (1.0 - still[..., at]))
            different = different * known
        total = factor * ops.mean(different)
        if onto is None:
            return total
        unlike = 1.0 - onto[::way][0](warped[..., -1:], known)
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
