"""Organs, tubes and bones, drawn without data."""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from anyvox_keras.templates import painting
from anyvox_keras.templates.bank_file import crop_to_box
from anyvox_keras.templates.geometric_shapes import KINDS, blob, ellipsoid

Generator = np.random.Generator
Masks = list[np.ndarray]
Branch = tuple[np.ndarray, np.ndarray]
Axes = list[np.ndarray]

GENERATIONS = 6


def geometric(rng: Generator, n: int) -> Masks:
    """Draw a shape of the geometric family, to be warped."""
    names, shares = list(KINDS), [share for share, _ in KINDS.values()]
    return [KINDS[names[int(rng.choice(len(names), p=shares))]][1](rng, n)]


def carved(rng: Generator, n: int) -> Masks:
    """Draw an organ: a body less one to three neighbours; the field of view cuts a third."""
    body = blob(rng, n) if rng.uniform() < 0.7 else ellipsoid(rng, n)
    organ = body.copy()
    for _ in range(rng.integers(1, 4)):
        organ &= ~_neighbour(rng, n)
    if rng.uniform() < 1 / 3:
        organ &= half_space(rng, n, 0.4)
    return [organ if organ.any() else body]


def nested(rng: Generator, n: int) -> Masks:
    """Draw an organ, its wall and its core, to be painted one over the other."""
    organ = carved(rng, n)[0]
    thickness = max(1, round(rng.uniform(0.02, 0.08) * n))
    inside = eroded(organ, thickness)
    core = eroded(inside, max(1, round(rng.uniform(0.04, 0.12) * n)))
    parts = [organ, organ & ~inside, core]
    return parts[: 2 + bool(core.any())]


def sheet(rng: Generator, n: int) -> Masks:
    """Draw a folded sheet, as cortex, skin or pleura are; two thirds are cut open."""
    inside = folded(rng, n)
    wall = inside & ~eroded(inside, _wall(rng, n))
    if rng.uniform() < 2 / 3:
        opened = wall & half_space(rng, n, 0.5)
        wall = opened if opened.any() else wall
    return [wall]


def cortex(rng: Generator, n: int) -> Masks:
    """Draw a folded body: the envelope that its folds are sunk in, its rind, its inside."""
    folds = max(2, n // 24)
    inside = np.pad(folded(rng, n), folds)
    core = eroded(inside, _wall(rng, n))
    near = ndimage.uniform_filter(inside.astype("float32"), 2 * folds + 1) >= 0.3
    parts = [near | inside, inside & ~core, core]
    return parts[: 2 + bool(core.any())]


def pair(rng: Generator, n: int) -> Masks:
    """Draw an organ and its mirror image, a gap apart: kidneys, lungs, hemispheres."""
    size = max(n // 2 - 1, 3)
    one = crop_to_box(carved(rng, size)[0] if rng.uniform() < 0.7 else geometric(rng, size)[0])
    axis = int(rng.integers(3))
    gap = max(1, round(rng.uniform(0.02, 0.25) * n))
    width = [gap if a == axis else size for a, size in enumerate(one.shape)]
    both = [one, np.zeros(width, bool), np.flip(one, axis)]
    return [np.concatenate(both, axis)]


def half_space(rng: Generator, n: int, reach: float) -> np.ndarray:
    """Draw the side of a plane on which the centre of the grid lies, mostly."""
    normal = np.round(painting.draw_rotation(rng)[0], 6).astype("float32")
    x = (np.arange(n, dtype="float32") + np.float32(0.5)) * np.float32(2 / n) - np.float32(1)
    a, b, c = (part * x for part in normal)
    offset = np.float32(np.round(rng.uniform(-0.25 * reach, reach), 4))
    return (a[:, None] + b)[..., None] + c <= offset


def eroded(mask: np.ndarray, thickness: int) -> np.ndarray:
    """Take a layer off a mask; its width is about `thickness` voxels, more in corners."""
    size = 2 * thickness + 1
    counts = ndimage.uniform_filter(np.pad(mask, thickness).astype("float32"), size)
    middle = (slice(thickness, -thickness),) * 3
    return mask & (counts[middle] > 0.97)


def _neighbour(rng: Generator, n: int) -> np.ndarray:
    """Draw an ellipsoid near the border of the grid."""
    half = n * np.round(rng.uniform(0.12, 0.34, 3), 4)
    centre = (n - 1) / 2 + np.round(painting.draw_rotation(rng)[0], 6) * n * rng.uniform(0.2, 0.4)
    return _ellipsoid_at(n, centre, half)


def _ellipsoid_at(n: int, centre: np.ndarray, half: np.ndarray) -> np.ndarray:
    x = np.arange(n, dtype="float32")
    a, b, c = (
        ((x - np.float32(m)) / np.float32(h)) ** 2 for m, h in zip(centre, half, strict=True)
    )
    return (a[:, None] + b)[..., None] + c <= 1


def folded(rng: Generator, n: int) -> np.ndarray:
    """Draw an ellipsoid whose surface is lowered by ridged noise: gyri and sulci."""
    radius = np.sqrt(sum(u**2 for u in painting.body_axes(rng, n)))
    noise = painting.draw_field(rng, int(rng.integers(4, 10)), (n, n, n))
    ridge = np.maximum(1 - np.abs(noise) * np.float32(np.round(rng.uniform(0.8, 1.8), 3)), 0)
    depth = np.float32(np.round(rng.uniform(0.2, 0.5), 3))
    inside = radius <= 1 - depth * ridge
    return inside if inside.any() else radius <= 1


def _wall(rng: Generator, n: int) -> int:
    """Draw the thickness of a sheet: 2 to 6 voxels, thinner in a small shape."""
    return int(rng.integers(2, max(3, min(6, n // 16) + 1)))


def vessels(rng: Generator, n: int) -> Masks:
    """Draw a tortuous tree of six generations, in which `r^3 = r1^3 + r2^3` at every fork.

    Reference:
        Murray, The physiological principle of minimum work, PNAS 1926.
    """
    root = max(rng.uniform(0.025, 0.06) * n, 1.5)
    way = painting.draw_rotation(rng)[0]
    tree = list(_branches(rng, -0.5 * n * way, way, root, 0.35 * n, GENERATIONS))
    points = painting.fit_points(np.concatenate([points for points, _ in tree]), n, root)
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
    curve = painting.fit_points(_smooth(places), n, 1.1 * radius)
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
        turn = np.cross(way, painting.draw_rotation(rng)[0])
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
    return painting.paint_balls(n, centres, np.maximum(radii, 1.0))


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
    return [painting.paint_balls(n, centres, np.full(len(centres), round(radius, 3)))]
