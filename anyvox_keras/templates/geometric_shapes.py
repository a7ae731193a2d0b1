"""A family of shapes that stands in for anatomy: organs, cavities, vessels, bones."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from anyvox_keras.templates.bank_file import crop_to_box
from anyvox_keras.templates.painting import body_axes, draw_rotation, fit_points, paint_balls

Generator = np.random.Generator

#: Smallest extent of a shape in voxels.
SMALLEST = 6


def draw_geometric_shape(rng: Generator, side: int) -> tuple[str, np.ndarray]:
    """Draw one shape of the geometric family.

    The largest extent is log-normal, median 0.55 `side`, between 6 voxels and `side`; the kind is
    one of

    | kind | share | stands in for | drawn |
    |---|---|---|---|
    | ellipsoid | 0.15 | compact organs, lesions | axes 1 : U(.35, 1) : U(.25, 1), rotation |
    | superquadric | 0.15 | boxes to diamonds: vertebrae, muscles | exponents of 2^U(-.5, 3) |
    | blob | 0.25 | lobed organs | 4 to 11 Gaussians along a random walk, thresholded |
    | shell | 0.15 | skull, cavities, cortex | wall U(.08, .35) of the radius; half are cut open |
    | tube | 0.20 | vessels, bowel, ribs | smooth curve, radius U(.03, .1) of the extent, tapered |
    | branching | 0.10 | vessel and airway trees | 2 children a branch, 4 generations |

    Args:
        rng: Generator of the draws.
        side: Largest extent in voxels.

    Returns:
        `(kind, mask)`: the name and a bool mask, cropped to its bounding box.

    Example:
        ```python
        >>> kind, mask = draw_geometric_shape(np.random.Generator(np.random.PCG64(0)), 32)
        >>> max(mask.shape) <= 32
        True
        ```
    """
    kind = str(rng.choice(list(KINDS), p=[share for share, _ in KINDS.values()]))
    extent = 0.55 * side * math.exp(0.45 * rng.standard_normal())
    extent = int(np.clip(round(extent), min(SMALLEST, side), side))
    return kind, crop_to_box(KINDS[kind][1](rng, extent))


def ellipsoid(rng: Generator, n: int) -> np.ndarray:
    """Draw a rotated ellipsoid in a cube of `n` voxels."""
    return np.asarray(sum(u**2 for u in body_axes(rng, n)) <= 1)


def superquadric(rng: Generator, n: int) -> np.ndarray:
    """Draw a rotated body |x|^p + |y|^q + |z|^r <= 1."""
    powers = 2.0 ** rng.uniform(-0.5, 3.0, 3)
    axes = body_axes(rng, n)
    return sum(np.abs(u) ** p for u, p in zip(axes, powers, strict=True)) <= 1


def blob(rng: Generator, n: int) -> np.ndarray:
    """Draw where a sum of Gaussians along a random walk exceeds a threshold."""
    field = np.zeros((n, n, n), "float32")
    x = np.linspace(-1, 1, n, dtype="float32")
    centre, spread = np.zeros(3), rng.uniform(0.18, 0.4)
    for _ in range(rng.integers(4, 12)):
        width = rng.uniform(0.6, 1.2, 3) * spread
        a, b, c = (np.exp(-0.5 * ((x - m) / s) ** 2) for m, s in zip(centre, width, strict=True))
        field += (a[:, None] * b[None])[..., None] * c
        centre = np.clip(centre + rng.normal(0, 1.1 * spread, 3), -0.75, 0.75)
    return field >= rng.uniform(0.35, 0.6)


def shell(rng: Generator, n: int) -> np.ndarray:
    """Draw the wall of a rotated ellipsoid, at least 1.5 voxels thick; half are cut open."""
    axes = body_axes(rng, n)
    radius = np.sqrt(sum(u**2 for u in axes))
    wall = max(rng.uniform(0.08, 0.35), min(3.0 / n, 1.0))
    mask = (radius <= 1) & (radius >= 1 - wall)
    if rng.integers(2):
        mask &= axes[int(rng.integers(3))] >= rng.uniform(-0.6, 0.4)
    return mask


def tube(rng: Generator, n: int) -> np.ndarray:
    """Draw balls along a smooth tapered curve that spans the cube."""
    radius = max(rng.uniform(0.03, 0.1) * n, 1.0)
    along = np.linspace(0, 1, 2 + int(6 * n / radius))[:, None]
    curve = np.outer(along[:, 0] - 0.5, draw_rotation(rng)[0]) * 1.6
    for wave in (1, 2, 3):
        phase = rng.uniform(0, 2 * np.pi, 3)
        curve += rng.normal(0, 0.25 / wave, 3) * np.sin(np.pi * wave * along + phase)
    taper = np.linspace(1.0, rng.uniform(0.4, 1.0), len(along))
    return paint_balls(n, fit_points(curve, n, radius), radius * taper)


def branching(rng: Generator, n: int) -> np.ndarray:
    """Draw a binary tree of tapered branches, four generations deep."""
    radius = max(rng.uniform(0.04, 0.08) * n, 1.0)
    root = draw_rotation(rng)[0]
    branches = list(_branches(rng, -0.7 * root, 0.7 * root, radius, 4))
    points = np.concatenate([points for points, _ in branches])
    radii = np.concatenate([radii for _, radii in branches])
    return paint_balls(n, fit_points(points, n, radius), radii)


def _branches(
    rng: Generator, start: np.ndarray, reach: np.ndarray, radius: float, generations: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    along = np.linspace(0, 1, 24)[:, None]
    thinner = max(0.75 * radius, 1.0)
    yield start + along * reach, np.linspace(radius, thinner, 24)
    if generations > 1:
        for _ in range(2):
            turned = reach / np.linalg.norm(reach) + rng.normal(0, 0.45, 3)
            length = np.linalg.norm(reach) * rng.uniform(0.6, 0.85)
            child = turned / np.linalg.norm(turned) * length
            yield from _branches(rng, start + reach, child, thinner, generations - 1)


KINDS: dict[str, tuple[float, Callable[[Generator, int], np.ndarray]]] = {
    "ellipsoid": (0.15, ellipsoid),
    "superquadric": (0.15, superquadric),
    "blob": (0.25, blob),
    "shell": (0.15, shell),
    "tube": (0.20, tube),
    "branching": (0.10, branching),
}
