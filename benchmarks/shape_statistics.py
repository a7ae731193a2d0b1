"""How a bank's shapes compare with those of real tissues.

    python benchmarks/shape_statistics.py [--banks geometric,anatomical,FOLDER] [--side 128]
        [--count 200] [--maps 8]

One column a source. Of shapes, medians unless another word is said:

- solidity: volume over that of the convex hull;
- sphericity: surface of the ball of that volume over the surface (marching cubes);
- thickness: diameter of the largest ball that holds a voxel within the shape, median over the
  shape's voxels; its variation is the standard deviation over the mean; of boxes above 10^6 voxels
  every second one along each axis counts;
- tunnels: components + cavities - Euler number, 6-neighbours (Betti number 1);
- components; cavities, as a share of the shape's volume; longer than the grid;
- symmetry: Dice with the mirror image in the best of the planes across the principal axes.

Of `--maps` label maps of 96^3: the share of voxels that touch another label, the effective number
of labels (exponential of the entropy), the mean distance to a boundary in voxels.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from skimage import measure

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.random import integers, keys_for
from anyvox_keras.templates import open_banks

Row = dict[str, float]

#: Radii in voxels at which openings measure the thickness.
RADII = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 64)
MAP_SIDE = 96


#: Voxels of a box from which on thickness is measured on every second one.
LARGE = 10**6


def local_thickness(mask: np.ndarray) -> np.ndarray:
    """Diameter of the largest of the balls that fit and hold a voxel, for every voxel inside."""
    coarse = mask[::2, ::2, ::2]
    if mask.size > LARGE and coarse.any():
        return 2 * local_thickness(coarse)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))
    thickness = np.where(depth > 0, 1.0, 0.0)
    for radius in RADII:
        if radius > depth.max():
            break
        opened = ndimage.distance_transform_edt(depth < radius) < radius
        thickness[opened & (depth > 0)] = 2 * radius
    return thickness[depth > 0]


def hull_corners(mask: np.ndarray) -> np.ndarray:
    """Corners of the first and last voxel of every line: the convex hull has no others."""
    first = mask.argmax(2)
    last = mask.shape[2] - 1 - mask[..., ::-1].argmax(2)
    rows = np.argwhere(mask.any(2))
    places = [np.column_stack([rows, line[tuple(rows.T)]]) for line in (first, last)]
    cells = np.concatenate(places)
    return (cells[:, None] + np.indices((2, 2, 2)).reshape(3, -1).T).reshape(-1, 3)


def shape_statistics(mask: np.ndarray, side: int) -> Row:
    """Measure one shape."""
    padded = np.pad(mask, 1)
    volume = int(mask.sum())
    corners = hull_corners(padded)
    surface = measure.mesh_surface_area(*measure.marching_cubes(padded.astype("float32"), 0.5)[:2])
    thickness = local_thickness(mask)
    components = ndimage.label(mask)[1]
    full = np.ones((3, 3, 3))
    cavities = ndimage.label(~padded, full)[1] - 1
    filled = ndimage.binary_fill_holes(padded, full).sum() - volume
    euler = measure.euler_number(padded, connectivity=1)
    return {
        "solidity": volume / ConvexHull(corners).volume,
        "sphericity": np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / surface,
        "thickness": float(np.median(thickness)),
        "variation": float(thickness.std() / thickness.mean()),
        "tunnels": components + cavities - euler,
        "components": components,
        "cavities": filled / (filled + volume),
        "longer than the grid": float(max(mask.shape) > side),
        "symmetry": symmetry(mask),
    }


def symmetry(mask: np.ndarray) -> float:
    """Dice of a shape and its mirror image in the best plane across a principal axis."""
    points = np.argwhere(mask)
    centred = points - points.mean(axis=0)
    found = []
    for axis in np.linalg.eigh(np.cov(centred.T))[1].T:
        moved = points - np.rint(2 * np.outer(centred @ axis, axis)).astype(int)
        inside = ((moved >= 0) & (moved < mask.shape)).all(axis=1)
        found.append(mask[tuple(moved[inside].T)].sum() / len(points))
    return float(max(found))


def map_statistics(labels: np.ndarray) -> Row:
    """Measure one label map."""
    boundary = np.zeros(labels.shape, bool)
    for axis in range(3):
        differs = np.diff(labels, axis=axis) != 0
        after = [(1, 0) if a == axis else (0, 0) for a in range(3)]
        before = [(0, 1) if a == axis else (0, 0) for a in range(3)]
        boundary |= np.pad(differs, after) | np.pad(differs, before)
    share = np.bincount(labels.ravel()) / labels.size
    share = share[share > 0]
    return {
        "boundary share": float(boundary.mean()),
        "effective labels": float(np.exp(-(share * np.log(share)).sum())),
        "distance to a boundary": float(ndimage.distance_transform_edt(~boundary).mean()),
    }


def label_maps(bank: avx.TemplateBank, count: int) -> list[Row]:
    """Draw label maps of a bank and measure them."""
    ensemble = avx.LabelEnsemble(MAP_SIDE)
    rows = []
    for i in range(count):
        keys = keys_for(0, [i])
        groups = integers(keys, (ensemble.templates,), 0, bank.group_count, xp=np)
        labels = ensemble(bank.pack(bank.members(groups)), keys=keys)
        rows.append(map_statistics(to_numpy(labels)[0]))
    return rows


#: Means where a median would be 0 or hide what matters.
MEANS = ("components", "cavities", "longer than the grid", "boundary share")
MEANS += ("effective labels", "distance to a boundary", "mean tunnels")


def summary(bank: avx.TemplateBank, side: int, count: int, maps: int) -> Row:
    """Sum up a bank: up to `count` shapes, evenly chosen, and label maps."""
    which = np.unique(np.linspace(0, len(bank) - 1, count).round().astype(int))
    masks = [bank.mask(i) for i in which]
    rows = [shape_statistics(mask, side) for mask in masks if mask.sum() > 30]
    for row in rows:
        row["mean tunnels"] = row["tunnels"]
    found = {"shapes": float(len(rows))}
    for part in (rows, label_maps(bank, maps) if maps else []):
        for name in part[0] if part else ():
            values = [row[name] for row in part]
            found[name] = float(np.mean(values) if name in MEANS else np.median(values))
    return found


def main() -> None:
    """Read the arguments and print the table."""
    data = Path(os.environ.get("ANYVOX_DATA", "../shared"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--banks", default=f"geometric,anatomical,{data / 'data/templates'}")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--maps", type=int, default=8)
    options = parser.parse_args()
    columns = {}
    for source in options.banks.split(","):
        start = time.perf_counter()
        bank = open_banks(source, options.count, options.side)
        seconds = (time.perf_counter() - start) / len(bank)
        found = summary(bank, options.side, options.count, options.maps)
        columns[Path(source).name] = {**found, "seconds a shape": seconds}
    print("| |", " | ".join(columns), "|")
    print("|---" * (1 + len(columns)) + "|")
    for name in next(iter(columns.values())):
        print(f"| {name} |", " | ".join(f"{column[name]:.3g}" for column in columns.values()), "|")


if __name__ == "__main__":
    main()
