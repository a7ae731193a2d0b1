"""Tubes: vessel trees by Murray's law, and bowels."""

from collections.abc import Iterator

import numpy as np

from anyvox_keras.templates.painting import draw_rotation, fit_points, paint_balls

Generator = np.random.Generator
Masks = list[np.ndarray]
Branch = tuple[np.ndarray, np.ndarray]

GENERATIONS = 6


def vessels(rng: Generator, n: int) -> Masks:
    """Draw a tortuous tree of six generations, in which `r^3 = r1^3 + r2^3` at every fork.

    Reference:
        Murray, The physiological principle of minimum work, PNAS 1926.
    """
    root = max(rng.uniform(0.025, 0.06) * n, 1.5)
    way = draw_rotation(rng)[0]
    tree = list(_branches(rng, -0.5 * n * way, way, root, 0.35 * n, GENERATIONS))
    points = fit_points(np.concatenate([points for points, _ in tree]), n, root)
    ends = np.cumsum([len(points) for points, _ in tree])[:-1]
    lines = [
        _dense(line, radii) for line, (_, radii) in zip(np.split(points, ends), tree, strict=True)
    ]
    return [_painted(n, lines)]


def bowel(rng: Generator, n: int) -> Masks:
    """Draw a tube along a spline that is packed into a box; a third are a wall."""
    cells = rng.integers(2, 4, 3)
    places = _snake(cells) + rng.uniform(-0.3, 0.3, (int(cells.prod()), 3))
    places *= np.round(rng.uniform(0.6, 1.0, 3), 4)
    radius = rng.uniform(0.22, 0.42) * n / float(cells.max())
    curve = fit_points(_smooth(places), n, 1.1 * radius)
    waves = np.sin(np.linspace(0, rng.uniform(20, 80), len(curve)) + rng.uniform(0, 6))
    radii = radius * (1 + rng.uniform(0, 0.2) * waves)
    line = _dense(curve, radii)
    whole = _painted(n, [line])
    if rng.uniform() >= 1 / 3:
        return [whole]
    wall = max(2.0, rng.uniform(0.15, 0.4) * radius)
    hollow = whole & ~_painted(n, [(line[0], np.maximum(line[1] - wall, 0))])
    return [hollow if hollow.any() else whole]


def _branches(
    rng: Generator,
    start: np.ndarray,
    way: np.ndarray,
    radius: float,
    length: float,
    generations: int,
) -> Iterator[Branch]:
    """Draw a branch and its children, which share its flow unevenly."""
    along = np.linspace(0, 1, 12)[:, None]
    sideways = rng.normal(0, 0.12, (2, 3)) * length
    line = start + along * way * length + np.sin(np.pi * along) * sideways[0]
    line += np.sin(2 * np.pi * along) * sideways[1]
    yield line, np.full(12, radius)
    if generations > 1:
        flow = rng.uniform(0.25, 0.5)
        turn = np.cross(way, draw_rotation(rng)[0])
        turn /= max(float(np.linalg.norm(turn)), 1e-3)
        for share, side in ((flow, 1.0), (1 - flow, -1.0)):
            # The thinner child turns further off its parent.
            child = way + side * turn * rng.uniform(0.6, 1.4) * (1 - share)
            child /= np.linalg.norm(child)
            yield from _branches(
                rng,
                line[-1],
                child,
                radius * share ** (1 / 3),
                length * rng.uniform(0.6, 0.95) * (2 * share) ** (1 / 3),
                generations - 1,
            )


def _snake(cells: np.ndarray) -> np.ndarray:
    """Visit the cells of a box one beside the other, `(cells, 3)`."""
    a, b, c = (int(size) for size in cells)
    path = []
    for i in range(a):
        for j in range(b)[:: -1 if i % 2 else 1]:
            back = (i * b + (j if i % 2 == 0 else b - 1 - j)) % 2
            path += [(i, j, k) for k in range(c)[:: -1 if back else 1]]
    return np.array(path, "float64")


def _smooth(places: np.ndarray, steps: int = 12) -> np.ndarray:
    """Follow a Catmull-Rom spline through places."""
    ends = np.concatenate([places[:1], places, places[-1:]])
    u = (np.arange(steps) / steps)[:, None, None]
    p0, p1, p2, p3 = (ends[i : len(ends) - 3 + i] for i in range(4))
    curve = p1 + 0.5 * u * (
        p2 - p0 + u * (2 * p0 - 5 * p1 + 4 * p2 - p3 + u * (3 * (p1 - p2) + p3 - p0))
    )
    return np.concatenate([curve.transpose(1, 0, 2).reshape(-1, 3), places[-1:]])


def _dense(points: np.ndarray, radii: np.ndarray) -> Branch:
    """Put points so close that their balls make a tube."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(steps)])
    spacing = max(0.35 * float(np.median(radii)), 0.7)
    at = np.linspace(0, along[-1], 2 + int(along[-1] / spacing))
    dense = np.stack([np.interp(at, along, line) for line in points.T], axis=1)
    return dense, np.interp(at, along, radii)


def _painted(n: int, lines: list[Branch]) -> np.ndarray:
    """Paint balls along lines, at places and of radii that rounding makes the same everywhere."""
    centres = np.round(np.concatenate([points for points, _ in lines]), 3)
    radii = np.round(np.concatenate([radii for _, radii in lines]), 3)
    return paint_balls(n, centres, np.maximum(radii, 1.0))
