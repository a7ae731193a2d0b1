"""Linear filters, pooling and the median."""

import functools
from collections.abc import Sequence

import numpy as np
from keras import ops

from anyvox_keras.errors import check_count, check_spatial, check_volumes
from anyvox_keras.ops.resize import pad
from anyvox_keras.ops.sample import as_float
from anyvox_keras.types import Array, Padding

_MEDIAN_RANK = 13


def correlate_axis(x: Array, weights: Array, axis: int, mode: Padding = "zeros") -> Array:
    """Correlate one spatial axis with an odd number of weights.

    Args:
        x: `(B, D, H, W, C)`; integers count as float32.
        weights: `(n,)`, the same for all samples, or `(B, n)`; `n` odd.
        axis: 1, 2 or 3.
        mode: How the edge is padded, see `pad`.

    Returns:
        Same shape as `x`.

    Raises:
        ValueError: If the number of weights is even, or `x` is no batch of volumes.
    """
    check_volumes("x", x)
    x = as_float(x)
    taps = int(weights.shape[-1])
    if taps % 2 == 0:
        raise ValueError(f"the number of `weights` must be odd. Received: {taps}")
    pads = [(taps // 2, taps // 2) if a == axis else (0, 0) for a in (1, 2, 3)]
    padded = pad(x, pads, mode)
    weights = ops.cast(ops.reshape(weights, (-1, taps)), x.dtype)
    total: Array = ops.zeros((), x.dtype)
    for tap in range(taps):
        window = (slice(None),) * axis + (slice(tap, tap + x.shape[axis]),)
        total = total + padded[window] * weights[:, tap][:, None, None, None, None]
    return total


def gaussian_filter(
    x: Array, sigma: float | Sequence[float], truncate: float = 4.0, mode: Padding = "symmetric"
) -> Array:
    """Smooth with a sampled, normalised Gaussian of radius `int(truncate sigma + 1/2)`, as scipy.

    Args:
        x: `(B, D, H, W, C)`; integers count as float32.
        sigma: Standard deviation in voxels, one number or one per axis.
        truncate: Radius in standard deviations.
        mode: How the edge is padded, see `pad`; "symmetric" is scipy's default, `reflect`.

    Returns:
        Same shape as `x`.

    Raises:
        ValueError: If `sigma` is not one number or three from 0 up, `truncate` is not positive, or
            `x` is no batch of volumes.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import gaussian_filter

        smooth = gaussian_filter(np.random.rand(1, 16, 16, 16, 1).astype("float32"), 1.5)
        ```
    """
    check_volumes("x", x)
    sigmas = np.asarray(sigma)
    if sigmas.dtype.kind not in "iuf" or sigmas.shape not in ((), (3,)) or not (sigmas >= 0).all():
        raise ValueError(f"`sigma` must be >= 0, a number or three. Received: sigma={sigma}")
    if not truncate > 0:
        raise ValueError(f"`truncate` must be > 0. Received: truncate={truncate}")
    x = as_float(x)
    for axis, std in enumerate(np.broadcast_to(sigmas, 3).tolist(), start=1):
        radius = int(truncate * std + 0.5)
        if radius:
            distance = np.arange(-radius, radius + 1)
            weights = np.exp(-0.5 * (distance / std) ** 2)
            x = correlate_axis(x, (weights / weights.sum()).astype("float32"), axis, mode)
    return x


def box_filter(x: Array, size: int = 3, mode: Padding = "zeros") -> Array:
    """Mean over a cube; with mode "zeros" the padding counts in the mean, as in ConvexAdam.

    Args:
        x: `(B, D, H, W, ...)`; integers count as float32.
        size: Voxels along the cube's side, odd.
        mode: How the edge is padded, see `pad`.

    Returns:
        Same shape as `x`.

    Raises:
        ValueError: If `size` is even, or `x` has no three spatial axes.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import box_filter

        mean = box_filter(np.ones((1, 8, 8, 8, 1), "float32"))
        ```
    """
    check_count("size", size)
    if size % 2 == 0:
        raise ValueError(f"`size` must be odd. Received: size={size}")
    check_spatial("x", x)
    # One padding and sums along the rows: half the time of `correlate_axis`.
    x = pad(as_float(ops.convert_to_tensor(x)), ((size // 2, size // 2),) * 3, mode)
    for axis in (1, 2, 3):
        length, lead = x.shape[axis] - size + 1, (slice(None),) * axis
        parts = [x[(*lead, slice(tap, tap + length))] for tap in range(size)]
        x = sum(parts[1:], parts[0]) * (1.0 / size)
    return x


def average_pool(x: Array, size: int = 2) -> Array:
    """Mean over blocks of `size`^3; voxels that do not fill a block are dropped.

    Args:
        x: `(B, D, H, W, C)`; integers count as float32.
        size: Voxels along a block's side.

    Raises:
        ValueError: If `x` is no batch of volumes with at least one block.
    """
    _check_blocks(x, size)
    x = as_float(x)
    return ops.average_pool(x, size, strides=size, padding="valid", data_format="channels_last")


def max_pool(x: Array, size: int = 2) -> Array:
    """Maximum over blocks of `size`^3; arguments as in `average_pool`."""
    _check_blocks(x, size)
    x = as_float(x)
    return ops.max_pool(x, size, strides=size, padding="valid", data_format="channels_last")


def _check_blocks(x: Array, size: int) -> None:
    check_volumes("x", x)
    check_count("size", size)
    if any(side is not None and side < size for side in x.shape[1:4]):
        sides = tuple(x.shape[1:4])
        raise ValueError(f"`x` must hold a block of `size`={size} voxels. Received: {sides}")


def median_filter(labels: Array) -> Array:
    """Median over the 3x3x3 neighbourhood, edge voxels replicated.

    Each cube is sorted along its three axes in turn, where neighbours share their work: 3, then 9,
    then 27 comparisons per voxel. An element of the sorted cube at (i, j, k) has
    `(i + 1)(j + 1)(k + 1)` elements at most as large as itself, which rules out 8 of 27; a sorting
    network cut down to its middle output picks the median of the 19 that remain. Smaller integer
    types are faster.

    Args:
        labels: `(B, D, H, W)` of any ordered dtype.

    Returns:
        Same shape and dtype; equal to `scipy.ndimage.median_filter(size=3, mode="nearest")`.

    Raises:
        ValueError: If `labels` has no three spatial axes.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.ops import median_filter

        smooth = median_filter(np.random.randint(0, 5, (1, 8, 8, 8)))
        ```
    """
    check_spatial("labels", labels)
    cubes: dict[tuple[int, ...], Array] = {(): pad(labels, ((1, 1),) * 3, "edge")}
    for axis in (3, 2, 1):
        cubes = {
            (*rank, index): value
            for rank, x in cubes.items()
            for index, value in enumerate(_sort_three(x, axis))
        }
    wires = [x for rank, x in sorted(cubes.items()) if not _is_extreme(rank)]
    for low, high in _median_network(len(wires)):
        wires[low], wires[high] = _compare(wires[low], wires[high])
    return wires[len(wires) // 2]


def _compare(a: Array, b: Array) -> tuple[Array, Array]:
    return ops.minimum(a, b), ops.maximum(a, b)


def _sort_three(x: Array, axis: int) -> tuple[Array, Array, Array]:
    """Sort each voxel with its two successors along an axis, which becomes two voxels shorter."""
    size = x.shape[axis] - 2
    a, b, c = (x[(slice(None),) * axis + (slice(at, at + size),)] for at in range(3))
    a, b = _compare(a, b)
    b, c = _compare(b, c)
    a, b = _compare(a, b)
    return a, b, c


def _is_extreme(rank: tuple[int, ...]) -> bool:
    i, j, k = rank
    below, above = (i + 1) * (j + 1) * (k + 1), (3 - i) * (3 - j) * (3 - k)
    return max(below, above) > _MEDIAN_RANK + 1


@functools.cache
def _median_network(n: int) -> list[tuple[int, int]]:
    """Batcher's odd-even merge sort of `n` wires, cut down to what its middle output needs."""
    needed, kept = {n // 2}, []
    for low, high in reversed(_sorting_network(n)):
        if {low, high} & needed:
            needed |= {low, high}
            kept.append((low, high))
    return kept[::-1]


def _sorting_network(n: int) -> list[tuple[int, int]]:
    """Knuth, The Art of Computer Programming 3, algorithm 5.2.2M."""
    pairs = []
    top = 1 << (n - 1).bit_length() >> 1
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(n - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return pairs
