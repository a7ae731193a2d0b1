"""Bones in series: vertebral columns and rib cages."""

import numpy as np

from anyvox_keras.templates.painting import paint_balls

Generator = np.random.Generator
Masks = list[np.ndarray]
Axes = list[np.ndarray]


def column(rng: Generator, n: int) -> Masks:
    """Draw 4 to 10 vertebrae (body, ring, processes) along a bent axis."""
    count = max(1, min(int(rng.integers(4, 11)), n // 8))
    pitch = n / count
    bend, phase = rng.normal(0, 0.07, 2) * n, rng.uniform(0, np.pi, 2)
    form = np.round(rng.uniform(*zip(*FORM.values(), strict=True)), 3)
    mask = np.zeros((n, n, n), bool)
    for i in range(count):
        z = (i + 0.5) * pitch
        turn = np.pi * z / n + phase
        centre = np.array([z, *(0.5 * n + bend * np.sin(turn))])
        centre[1] -= 0.5 * form[1] * pitch  # processes behind the body take the room
        slope = bend * np.cos(turn) * np.pi / n
        size = pitch * (0.85 + 0.15 * i / count)
        _vertebra(mask, np.round(centre, 3), np.round(slope, 4), size, form)
    return [mask]


#: Of a vertebra, in units of the pitch, whether in the neck or in the loins.
FORM = {
    "half height of the body": (0.3, 0.42),
    "half depth": (0.4, 0.6),
    "half width": (0.45, 0.75),
    "radius of the canal": (0.16, 0.28),
    "thickness of the ring": (0.07, 0.13),
    "length of the spine": (0.4, 0.9),
    "its fall": (0.0, 0.5),
    "length of the transverse processes": (0.3, 0.7),
}


def _vertebra(
    mask: np.ndarray, centre: np.ndarray, slope: np.ndarray, size: float, form: np.ndarray
) -> None:
    """Paint one vertebra; sheared, not turned, to follow the axis."""
    low = np.clip(np.floor(centre - size * np.array([0.95, 0.8, 1.6])).astype(int), 0, None)
    high = np.minimum(np.ceil(centre + size * np.array([0.95, 2.2, 1.6])).astype(int), len(mask))
    if (low >= high).any():
        return
    scale = np.float32(1 / size)
    z, y, x = (
        (np.arange(a, b, dtype="float32") - np.float32(c)) * scale
        for a, b, c in zip(low, high, centre, strict=True)
    )
    back, side = (np.float32(part) for part in slope)
    depth = y[:, None] - back * z[:, None, None]
    width = x - side * z[:, None, None]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    mask[box] |= _bone([z[:, None, None], depth, width], form)


def _bone(axes: Axes, form: np.ndarray) -> np.ndarray:
    """Tell where a vertebra is: up `z`, back `y`, sideways `x`."""
    z, y, x = axes
    height, deep, wide, canal, ring, spine, fall, transverse = (np.float32(v) for v in form)
    waist = np.float32(0.85) + np.float32(0.15) * (z / height) ** 2
    body = (np.abs(z) <= height) & ((y / deep) ** 2 + (x / wide) ** 2 <= waist**2)
    middle = deep + canal * np.float32(0.8)
    around = np.sqrt((y - middle) ** 2 + (x * np.float32(0.85)) ** 2)
    arch = (np.abs(around - canal) <= ring) & (np.abs(z) <= np.float32(0.7) * height)
    hole = around < canal - ring
    behind = middle + canal
    processes = _rod(axes, (0, behind, 0), (fall, behind + spine, 0), float(0.9 * ring))
    for sign in (-1, 1):
        root = (0, middle, sign * canal)
        tip = (0.1, middle + 0.25 * transverse, sign * (canal + transverse))
        joint = (0.6, middle + 0.5 * canal, sign * canal)
        processes |= _rod(axes, root, tip, float(0.8 * ring)) | _rod(
            axes, root, joint, float(0.7 * ring)
        )
    return (body & ~hole) | arch | processes


def _rod(axes: Axes, start: tuple, end: tuple, radius: float) -> np.ndarray:
    """Tell which points are within a radius of a line between two."""
    way = [np.float32(b - a) for a, b in zip(start, end, strict=True)]
    away = [axis - np.float32(a) for axis, a in zip(axes, start, strict=True)]
    square = np.float32(sum(float(w) ** 2 for w in way))
    along = sum(p * w for p, w in zip(away, way, strict=True)) / square
    along = np.clip(along, np.float32(0), np.float32(1))
    rest = sum((p - along * w) ** 2 for p, w in zip(away, way, strict=True))
    return np.asarray(rest <= np.float32(radius) ** 2)


def rib_cage(rng: Generator, n: int) -> Masks:
    """Draw 6 to 12 paired hoops on an ovoid, open in front."""
    count = min(int(rng.integers(6, 13)), max(2, n // 6))
    radius = max(rng.uniform(0.012, 0.024) * n, 1.0)
    half = (0.5 * n - radius - 1) * rng.uniform([0.6, 0.75], [0.8, 1.0])  # deep, wide
    fall, top = rng.uniform(0.1, 0.35), rng.uniform(0.3, 0.6)
    points = []
    for i in range(count):
        level = (i + 0.5) / count
        shrink = np.sqrt(np.maximum(1 - ((level - 0.6) / (0.6 + top)) ** 2, 0.05))
        reach = np.pi * rng.uniform(0.6, 0.85) * min(1.0, 1.6 - level)
        turn = np.linspace(0.1, reach, 2 + int(2 * half.max() / radius))
        height = (1 - fall) * level * (n - 1) + fall * n * 0.5 * (1 - np.cos(turn))
        for sign in (-1, 1):
            y = 0.5 * n - shrink * half[0] * np.cos(turn)
            x = 0.5 * n + sign * shrink * half[1] * np.sin(turn)
            points.append(np.stack([height, y, x], axis=1))
    centres = np.round(np.concatenate(points), 3)
    return [paint_balls(n, centres, np.full(len(centres), round(radius, 3)))]
