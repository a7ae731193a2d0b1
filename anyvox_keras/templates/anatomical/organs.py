"""Organs: carved by their neighbours, folded, paired, nested."""

import numpy as np
from scipy import ndimage

from anyvox_keras.templates.bank_file import crop_to_box
from anyvox_keras.templates.geometric_shapes import KINDS, blob, ellipsoid
from anyvox_keras.templates.painting import body_axes, draw_rotation
from anyvox_keras.templates.surface_warp import draw_field

Generator = np.random.Generator
Masks = list[np.ndarray]


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
    normal = np.round(draw_rotation(rng)[0], 6).astype("float32")
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
    centre = (n - 1) / 2 + np.round(draw_rotation(rng)[0], 6) * n * rng.uniform(0.2, 0.4)
    return _ellipsoid_at(n, centre, half)


def _ellipsoid_at(n: int, centre: np.ndarray, half: np.ndarray) -> np.ndarray:
    x = np.arange(n, dtype="float32")
    a, b, c = (
        ((x - np.float32(m)) / np.float32(h)) ** 2 for m, h in zip(centre, half, strict=True)
    )
    return (a[:, None] + b)[..., None] + c <= 1


def folded(rng: Generator, n: int) -> np.ndarray:
    """Draw an ellipsoid whose surface is lowered by ridged noise: gyri and sulci."""
    radius = np.sqrt(sum(u**2 for u in body_axes(rng, n)))
    noise = draw_field(rng, int(rng.integers(4, 10)), (n, n, n))
    ridge = np.maximum(1 - np.abs(noise) * np.float32(np.round(rng.uniform(0.8, 1.8), 3)), 0)
    depth = np.float32(np.round(rng.uniform(0.2, 0.5), 3))
    inside = radius <= 1 - depth * ridge
    return inside if inside.any() else radius <= 1


def _wall(rng: Generator, n: int) -> int:
    """Draw the thickness of a sheet: 2 to 6 voxels, thinner in a small shape."""
    return int(rng.integers(2, max(3, min(6, n // 16) + 1)))
