"""How well the features match at every displacement of a window."""

import itertools
from collections.abc import Callable

import numpy as np
from keras import ops

from anyvox_keras.errors import one_of
from anyvox_keras.ops import box_filter, pad
from anyvox_keras.types import Array, Distance

# means that smooth a cost; each reaches one voxel further
_MEANS = 2
# what a displacement into the unknown counts as evidence that it costs what others cost
_LITTLE = 0.05


def window_offsets(half_width: int) -> np.ndarray:
    """The displacements of a window, `((2 half_width + 1)^3, 3)` float32, last axis fastest."""
    steps = range(-half_width, half_width + 1)
    return np.array(list(itertools.product(steps, repeat=3)), "float32")


def cost_volume(
    fixed: Array, moving: Array, half_width: int = 1, distance: Distance = "squared",
    weights: tuple[Array, Array] | None = None,
) -> Array:  # fmt: skip
    """Compare the features at every voxel for each whole displacement in a window.

    With the moving features zero outside their grid and `box` the 3x3x3 mean that counts zeros
    outside:

        cost(x, d) = box box sum_c (fixed_c(x) - moving_c(x + d))^2          ("squared")
        cost(x, d) = box box (1 - cos(fixed(x), moving(x + d)))              ("cosine")

    With weights `w` of what is known on each side (one beyond the moving grid, so that weights of
    one everywhere change nothing) the cost is a mean over what both sides know,

        cost(x, d) = max(w_f, box2 w_f)(x) * box2 (w(x, d) |...|^2) / box2 w(x, d)
        w(x, d) = w_f(x) w_m(x + d)

    so that a displacement into the unknown is neither cheap nor dear: where hardly anything is
    known it costs the mean of the others, and nothing where `x` is in the unknown itself.

    One row of the window is compared at a time, so nothing larger than the result and one row's
    differences is ever held.

    Args:
        fixed: `(B, D, H, W, C)` float32 features, usually pooled to a coarse grid.
        moving: The same shape.
        half_width: `d` takes the values `-half_width .. half_width` on each axis.
        distance: "squared" or "cosine".
        weights: `(B, D, H, W, 1)` in `[0, 1]` of the fixed and of the moving features.

    Returns:
        `(B, D, H, W, (2 half_width + 1)^3)` float32, displacements as in `window_offsets`.

    Raises:
        ValueError: If the shapes differ, `half_width` is below one or `distance` is unknown.

    Reference:
        Siebert et al., ConvexAdam, IEEE TMI 2024.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.registration import cost_volume

        x = np.random.rand(1, 8, 8, 8, 4).astype("float32")
        cost = cost_volume(x, x, half_width=1)
        ```
    """
    if tuple(fixed.shape[1:]) != tuple(moving.shape[1:]):
        raise ValueError(
            "`fixed` and `moving` must have the same shape. "
            f"Received: {tuple(fixed.shape)} and {tuple(moving.shape)}"
        )
    if half_width < 1:
        raise ValueError(f"`half_width` must be >= 1. Received: half_width={half_width}")
    one_of("distance", distance, Distance)
    fixed, moving = ops.convert_to_tensor(fixed), ops.convert_to_tensor(moving)
    if distance == "cosine":
        fixed, moving = unit_length(fixed), unit_length(moving)
    around = ((half_width, half_width),) * 3
    there = (
        None
        if weights is None
        else (ops.convert_to_tensor(weights[0]), _pad_known(weights[1], around))
    )
    cost = _compare(fixed, pad(moving, around, "zeros"), there, half_width, _smooth)
    return 0.5 * cost if distance == "cosine" else cost


def _pad_known(weight: Array, widths: tuple[tuple[int, int], ...]) -> Array:
    """Beyond the grid it is known that there is nothing."""
    return 1.0 - pad(1.0 - ops.convert_to_tensor(weight), widths, "zeros")


def _smooth(cost: Array) -> Array:
    return box_filter(box_filter(cost))


def cost_slab(
    fixed: Array, moving: Array, half_width: int, start: Array, planes: int,
    weights: tuple[Array, Array] | None = None,
) -> Array:  # fmt: skip
    """Planes `start .. start + planes` of `cost_volume`, by the squared distance.

    Args:
        fixed: `(B, D, H, W, C)` float32 features.
        moving: The same shape.
        half_width: As for `cost_volume`.
        start: First plane along the first axis; an integer array, so that one compiled function
            serves every slab.
        planes: How many, at most the volume's depth.
        weights: As for `cost_volume`.

    Returns:
        `(B, planes, H, W, (2 half_width + 1)^3)` float32.
    """
    depth, reach = fixed.shape[1], _MEANS
    count = planes + 2 * reach
    within = ((reach, reach), (0, 0), (0, 0))
    around = tuple((n, n) for n in (reach + half_width, half_width, half_width))

    def cut(x: Array, planes: int) -> Array:
        return ops.slice(x, (0, start, 0, 0, 0), (x.shape[0], planes, *x.shape[2:]))

    still = cut(pad(fixed, within, "zeros"), count)
    moved = cut(pad(moving, around, "zeros"), count + 2 * half_width)
    if weights is not None:
        here = cut(pad(weights[0], within, "zeros"), count)
        weights = here, cut(_pad_known(weights[1], around), count + 2 * half_width)
    plane = ops.arange(count, dtype="int32") + start - reach
    # what lies beyond the volume counts as zero in each mean
    inside = ops.cast(ops.logical_and(plane >= 0, plane < depth), "float32")
    inside = ops.reshape(inside, (1, count, 1, 1, 1))

    def smooth(cost: Array) -> Array:
        return box_filter(box_filter(cost * inside) * inside)[:, reach:-reach]

    return _compare(still, moved, weights, half_width, smooth)


def unit_length(features: Array) -> Array:
    """Scale each voxel's features to length one; zero stays zero."""
    return features * ops.rsqrt(ops.sum(ops.square(features), axis=-1, keepdims=True) + 1e-12)


def _compare(
    fixed: Array, padded: Array, weights: tuple[Array, Array] | None, half_width: int,
    smooth: Callable[[Array], Array],
) -> Array:  # fmt: skip
    """Squared distance to the padded moving features at every displacement, smoothed."""
    if weights is None:
        return _rows(lambda at: smooth(_row(fixed, padded, half_width, at, _distance)), half_width)
    here, there = weights

    def row(at: Array) -> Array:
        known = _row(here, there, half_width, at, _product)
        distance = _row(fixed, padded, half_width, at, _distance)
        return ops.stack([smooth(known * distance), smooth(known)], axis=1)

    both = _rows(row, half_width)
    cost, known = both[:, 0], both[:, 1]
    usual = ops.sum(cost, -1, keepdims=True) / (ops.sum(known, -1, keepdims=True) + 1e-6)
    everywhere, all_known = smooth(ops.ones_like(here)), smooth(here)
    unknown = _LITTLE * (all_known - known)
    # a voxel that is known counts fully, however few its neighbours
    outer = (here.shape[1] - all_known.shape[1]) // 2  # planes of a slab that its means read
    share = ops.maximum(here[:, outer : here.shape[1] - outer] * everywhere, all_known)
    return share * (cost + unknown * usual) / (known + unknown + 1e-6)


def _rows(row: Callable[[Array], Array], half_width: int) -> Array:
    """Join what `row` gives for each row of the window, last axis fastest."""
    taps = range(2 * half_width + 1)
    starts = np.array(list(itertools.product(taps, repeat=2)), "int32")
    rows = ops.map(row, ops.convert_to_tensor(starts))
    order = (*range(1, len(rows.shape) - 1), 0, len(rows.shape) - 1)
    rows = ops.transpose(rows, order)
    batch = ops.shape(rows)[0]  # a model's is not known when TensorFlow traces it
    return ops.reshape(rows, (batch, *rows.shape[1:-2], len(taps) ** 3))


def _row(
    fixed: Array, padded: Array, half_width: int, start: Array,
    compare: Callable[[Array, Array], Array],
) -> Array:  # fmt: skip
    """Compare at the displacements of one row of the window."""
    _, depth, height, width, channels = fixed.shape
    size = (ops.shape(fixed)[0], depth, height, width + 2 * half_width, channels)
    window = ops.slice(padded, (0, start[0], start[1], 0, 0), size)
    taps = range(2 * half_width + 1)
    parts = [compare(fixed, window[:, :, :, tap : tap + width]) for tap in taps]
    return ops.stack(parts, axis=-1)


def _distance(fixed: Array, moving: Array) -> Array:
    return ops.sum(ops.square(fixed - moving), axis=-1)


def _product(fixed: Array, moving: Array) -> Array:
    return (fixed * moving)[..., 0]
