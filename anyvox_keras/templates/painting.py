"""What shapes are painted with: balls, rotated bodies, surfaces warped by smooth fields."""

import numpy as np
from scipy import ndimage

Generator = np.random.Generator
Shape = tuple[int, int, int]

#: Intervals between nodes along the extent, coarse to fine, and each octave's share of the warp.
OCTAVES = ((3, 1.0), (7, 0.5), (15, 0.2))


def paint_balls(n: int, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Paint the union of balls; a ball smaller than a voxel still paints the nearest one."""
    mask = np.zeros((n, n, n), bool)
    for centre, radius in zip(centres, radii, strict=True):
        nearest = np.clip(np.floor(centre + 0.5).astype(int), 0, n - 1)
        low = np.clip(np.floor(centre - radius).astype(int), 0, n - 1)
        high = np.clip(np.ceil(centre + radius).astype(int) + 1, 1, n)
        x, y, z = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        square = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
        mask[low[0] : high[0], low[1] : high[1], low[2] : high[2]] |= square <= radius**2
        mask[tuple(nearest)] = True
    return mask


def fit_points(points: np.ndarray, n: int, margin: float) -> np.ndarray:
    """Scale and shift points so that they fill a cube of `n` voxels less a margin."""
    low, high = points.min(axis=0), points.max(axis=0)
    scale = max(n - 1 - 2 * margin, 1.0) / max(float((high - low).max()), 1e-6)
    return (points - (low + high) / 2) * scale + (n - 1) / 2


def body_axes(rng: Generator, n: int) -> list[np.ndarray]:
    """Rotated voxel coordinates in units of the body's half axes."""
    half = 0.5 * n * np.array([1.0, rng.uniform(0.35, 1.0), rng.uniform(0.25, 1.0)])
    x = np.arange(n, dtype="float32") - (n - 1) / 2
    rows = (draw_rotation(rng) / half[:, None]).astype("float32")
    return [r[0] * x[:, None, None] + r[1] * x[:, None] + r[2] * x for r in rows]


def draw_rotation(rng: Generator) -> np.ndarray:
    """Draw a uniform rotation as the orthonormal part of a Gaussian matrix."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    return q * np.sign(np.diag(r))


def spline_field(nodes: np.ndarray, shape: Shape) -> np.ndarray:
    """Spread nodes over a grid by uniform cubic B-splines.

    Weights are computed in float64 and rounded; every voxel is then a sum of four float32 products
    per axis in one order. IEEE arithmetic makes that the same on every machine.

    Args:
        nodes: `(d, h, w)`, each axis three longer than its number of intervals.
        shape: Shape of the grid, whose faces are the ends of the first and last interval.

    Returns:
        float32 array of that shape.
    """
    field = nodes.astype("float32")
    for axis, n in enumerate(shape):
        at = (np.arange(n) + 0.5) / n * (field.shape[axis] - 3)
        first = np.floor(at).astype(int)
        u = at - first
        basis = ((1 - u) ** 3, 4 - 6 * u**2 + 3 * u**3, 1 + 3 * u + 3 * u**2 - 3 * u**3, u**3)
        wide = [n if a == axis else 1 for a in range(3)]
        weights = [(part / 6).astype("float32").reshape(wide) for part in basis]
        taps = [field.take(first + tap, axis) for tap in range(4)]
        for tap, weight in zip(taps, weights, strict=True):
            tap *= weight
        field = (taps[0] + taps[1]) + (taps[2] + taps[3])
    return field


def draw_field(rng: Generator, intervals: int, shape: Shape) -> np.ndarray:
    """Draw smooth noise of standard deviation about 1, nodes `extent / intervals` apart."""
    # A B-spline averages its nodes: the mean square of its weights is (151/315)^3.
    return spline_field(3.01 * rng.standard_normal((intervals + 3,) * 3), shape)


def warp_surfaces(rng: Generator, masks: list[np.ndarray], low: float, high: float) -> list:
    """Displace masks of one grid by one random field of three octaves.

    Nodes are 1/3, 1/7 and 1/15 of the extent apart; the standard deviation of the coarsest is
    U(low, high) of the extent and halves from octave to octave. A mask of which nothing is left
    stays as it was.

    Args:
        rng: Generator of the draws.
        masks: Bool masks `(D, H, W)` of one shape, the first of which holds the others.
        low: Least standard deviation, as a share of the longest side.
        high: Largest.

    Returns:
        The masks on a grid with a margin around the first.
    """
    extent = max(masks[0].shape)
    std = float(np.round(rng.uniform(low, high), 4)) * extent
    margin = int(np.ceil(1.5 * std))
    padded = [np.pad(mask, margin) for mask in masks]
    index = _displaced(rng, padded[0].shape, std)
    warped = [mask.ravel().take(index) for mask in padded]
    return [new if new.any() else old for new, old in zip(warped, padded, strict=True)]


def _displaced(rng: Generator, shape: Shape, std: float) -> np.ndarray:
    """Flat index of the voxel that each voxel is read from."""
    linear = np.zeros(shape, "int32")
    for axis, n in enumerate(shape):
        field = _octaves(rng, shape, std)
        field += (np.arange(n, dtype="float32") + np.float32(0.5)).reshape(
            [n if a == axis else 1 for a in range(3)]
        )
        cell = np.clip(np.floor(field, out=field), 0, n - 1, out=field).astype("int32")
        linear = linear * n + cell
    return linear


def _octaves(rng: Generator, shape: Shape, std: float) -> np.ndarray:
    """Sum the octaves on the nodes of the finest, which alone is spread over the grid."""
    fine = OCTAVES[-1][0] + 3
    nodes = np.zeros((fine,) * 3, "float32")
    for intervals, share in OCTAVES[:-1]:
        nodes += np.float32(share) * draw_field(rng, intervals, (fine,) * 3)
    noise = 3.01 * OCTAVES[-1][1] * rng.standard_normal(nodes.shape)
    return np.float32(std) * spline_field(nodes + noise.astype("float32"), shape)


def enlarge(mask: np.ndarray, factor: float) -> np.ndarray:
    """Resample a mask to `factor` times its size: linear, then cut at one half, so smooth."""
    field = mask.astype("float32")
    for axis, n in enumerate(mask.shape):
        m = max(1, round(n * factor))
        at = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
        first = np.minimum(np.floor(at).astype(int), max(n - 2, 0))
        wide = [m if a == axis else 1 for a in range(3)]
        # Sixteenths add up without rounding, and ties are the same everywhere.
        share = (np.round(16 * (at - first)) / 16).astype("float32").reshape(wide)
        low, high = field.take(first, axis), field.take(np.minimum(first + 1, n - 1), axis)
        high -= low
        high *= share
        low += high
        field = low
    return field >= 0.5


def without_specks(masks: list[np.ndarray], least: float = 0.01) -> list[np.ndarray]:
    """Drop pieces of the first mask below a share of its volume, and what they hold."""
    pieces, _ = ndimage.label(masks[0], np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())
    kept = sizes >= least * sizes[1:].sum()
    kept[0] = False
    large = kept[pieces]
    return [mask & large for mask in masks]


def crop_together(masks: list[np.ndarray]) -> list[np.ndarray]:
    """Crop masks of one grid to the box of the first, dropping what is empty there."""
    inside = [np.flatnonzero(masks[0].any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple(slice(int(line[0]), int(line[-1]) + 1) for line in inside)
    cropped = [np.ascontiguousarray(mask[box]) for mask in masks]
    return [mask for mask in cropped if mask.any()]
