"""All pairs of the registration data: ours per backend beside ConvexAdam and ANTs.

    python benchmarks/registration.py [--methods torch:default,convexadam:default,...]
        [--masks none,both,fixed,moving] [--sets t1_t2,...] [--cache FILE] [--baseline METHOD]

One table: a set's mean Dice at the start and at the end (the landmarks' distance in mm where that
is the measure), its worst pair, the most folded voxels of a pair, seconds a pair (of the clock
and of all cores, which a busy machine does not lengthen), and the share of pairs that end below
their start by more than 0.005. Then every method's gain over a baseline, set
by set, and whether the best one would have been another with one set left out.

Each tool runs in its own process, all pairs one after the other; where a backend compiles, the
first pair of each shape is run twice and its first run is not counted. Small pairs come first.
Every result is a line that is added to the cache, a CSV file, so that a run goes on where it stood
and two may share a file; delete it after a change of the code.
"""

import argparse
import csv
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from registration_methods import BACKENDS, Masks, Method, method
from registration_table import print_choice, print_table, set_of

DATA = Path(os.environ.get("ANYVOX_DATA", Path(__file__).parents[2] / "shared"))
PAIRS = DATA / "data" / "registration"
KEY = ("method", "masks", "pair")
MEASURES = (
    "dice_before", "dice_after", "tre_before", "tre_after", "folds_percent", "seconds",
    "cpu_seconds",
)  # fmt: skip
METHODS = "torch:default,jax:default,tensorflow:default,convexadam:default"


def main() -> None:
    """Run what the cache lacks, a process a tool, and print the tables."""
    options = _options()
    pairs = [name for name in _pairs() if not options.sets or set_of(name) in options.sets]
    methods, masks = options.methods.split(","), options.masks.split(",")
    if options.measure:
        _measure(methods, masks, pairs, options.cache)
        return
    for name in methods:
        _in_process(name, options)
    rows = [
        row for row in _read(options.cache).values()
        if row["method"] in methods and row["masks"] in masks and row["pair"] in pairs
        and row["dice_after"] is not None
    ]  # fmt: skip
    print_table(rows)
    print_choice(rows, options.baseline or f"{methods[0]}, {masks[0]}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--masks", default="none,both")
    parser.add_argument("--sets", type=lambda text: text.split(","))
    parser.add_argument("--cache", type=Path, default=Path("registration.csv"))
    parser.add_argument("--baseline", help="As the tables name it: 'convexadam:default, none'.")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _pairs() -> list[str]:
    """Names of the pairs, small files first."""
    folders = sorted(PAIRS.iterdir(), key=lambda f: (f / "fixed.nii.gz").stat().st_size)
    return [folder.name for folder in folders]


def _read(cache: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """Rows by method, masks and pair; a measure that a pair does not have is none."""
    if not cache.exists():
        return {}
    with cache.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        tuple(row[name] for name in KEY): {name: row[name] for name in KEY}
        | {name: float(row[name]) if row[name] else None for name in MEASURES}
        for row in rows
    }


def _add(cache: Path, row: dict[str, Any]) -> None:
    new = not cache.exists()
    with cache.open("a", newline="") as file:
        writer = csv.DictWriter(file, [*KEY, *MEASURES])
        if new:
            writer.writeheader()
        writer.writerow(row)


def _in_process(name: str, options: argparse.Namespace) -> None:
    """Run one method over all pairs in a fresh Python."""
    tool = name.split(":")[0]
    backend = {"KERAS_BACKEND": tool} if tool in BACKENDS else {}
    command = [sys.executable, __file__, "--measure", "--methods", name, "--masks", options.masks]
    command += ["--cache", str(options.cache)]
    command += ["--sets", ",".join(options.sets)] if options.sets else []
    if code := subprocess.run(command, env={**os.environ, **backend}, check=False).returncode:
        raise SystemExit(f"{name} failed with exit code {code}")


def _measure(methods: list[str], masks: list[str], pairs: list[str], cache: Path) -> None:
    seen: set[tuple[int, ...]] = set()
    for name in methods:
        run = method(name)
        compiles = name.startswith(("jax", "tensorflow"))
        for which in masks:
            for pair in pairs:
                given = _masks(PAIRS / pair, which)
                if (name, which, pair) in _read(cache) or (which != "none" and not given):
                    continue
                row = {"method": name, "masks": which, "pair": pair}
                row |= _result(run, PAIRS / pair, given, seen if compiles else None)
                print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)
                _add(cache, row)


def _masks(folder: Path, which: str) -> Masks:
    """The pair's masks that are asked for and there; two if "both" finds two."""
    sides = {"none": (), "both": ("fixed", "moving")}.get(which, (which,))
    paths = {f"{side}_mask": folder / f"{side}_mask.nii.gz" for side in sides}
    return {name: path for name, path in paths.items() if path.exists()}


def _result(
    run: Method, folder: Path, masks: Masks, seen: set[tuple[int, ...]] | None
) -> dict[str, Any]:
    """Dice, TRE (mm), folds and seconds; nothing where a tool refuses the pair."""
    from anyvox_keras.geometry import Warp, resample_to
    from anyvox_keras.io import load_labels
    from anyvox_keras.metrics import folds_percent, mean_dice, target_registration_error
    from anyvox_keras.registration.pair_inputs import landmarks_of

    fixed, moving = (load_labels(folder / f"{n}_seg.nii.gz") for n in ("fixed", "moving"))
    if seen is not None and fixed.shape not in seen:
        seen.add(fixed.shape)
        run(folder, masks)
    start = time.perf_counter(), time.process_time()
    field = run(folder, masks)
    seconds, busy = time.perf_counter() - start[0], time.process_time() - start[1]
    if field is None:
        return {}
    labels = [int(label) for label in np.unique(fixed.array) if label > 0]
    before = resample_to(moving, fixed.grid).array
    found = {
        "dice_before": round(mean_dice(fixed.array, before, labels), 4),
        "dice_after": round(mean_dice(fixed.array, pull(before, field), labels), 4),
        "folds_percent": round(folds_percent(field), 4),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(busy, 2),
    }
    points = [folder / f"{side}_points.csv" for side in ("fixed", "moving")]
    if points[0].exists():
        here, there = landmarks_of(*map(str, points))
        after = Warp.from_voxels(field, fixed.grid).points(here)
        found["tre_before"] = round(target_registration_error(here, there), 3)
        found["tre_after"] = round(target_registration_error(after, there), 3)
    return found


def pull(labels: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Nearest-neighbour warp in numpy, the same for every method."""
    grid = np.stack(np.meshgrid(*map(np.arange, labels.shape), indexing="ij"), -1)
    where = np.floor(grid + field + 0.5).astype(int)
    inside = ((where >= 0) & (where < labels.shape)).all(-1)
    i, j, k = np.moveaxis(np.clip(where, 0, np.array(labels.shape) - 1), -1, 0)
    return np.where(inside, labels[i, j, k], 0)


if __name__ == "__main__":
    main()
