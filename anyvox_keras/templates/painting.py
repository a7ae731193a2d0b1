"""What shapes are painted with: balls along curves, rotated bodies."""

import numpy as np

Generator = np.random.Generator


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
