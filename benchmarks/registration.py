"""All pairs of the registration data: ours per backend beside ConvexAdam and ANTs.

    python benchmarks/registration.py [--backends torch,jax,tensorflow] [--presets default]
        [--pairs t1_t2_1000,...] [--out registration.csv]

Each method runs in its own process, all pairs one after the other; the first pair of each shape
is run twice, and the extra time of its first run is printed apart as `start` (compilation).
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

DATA = Path(os.environ.get("ANYVOX_DATA", Path(__file__).parents[2] / "shared"))
PAIRS = DATA / "data" / "registration"
Method = Callable[[Path], np.ndarray]


def main() -> None:
    """Run every method in a process of its own and print one table."""
    options = _options()
    if options.method:
        _measure(options.method, options.pairs.split(","))
        return
    methods = [f"{b}:{p}" for p in options.presets.split(",") for b in options.backends.split(",")]
    methods += ["convexadam:paper", "convexadam:default"]
    methods += ["ants:syn", "ants:clipped"] if _has_ants() else []
    if not _has_ants():
        print("antspyx is not installed: pip install antspyx adds ANTs to the table")
    rows = [row for method in methods for row in _in_process(method, options.pairs)]
    _print_table(rows)
    if options.out:
        with open(options.out, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", default="torch,jax,tensorflow")
    parser.add_argument("--presets", default="default")
    parser.add_argument("--pairs", default=",".join(sorted(p.name for p in PAIRS.iterdir())))
    parser.add_argument("--out", type=Path, help="CSV of every pair.")
    parser.add_argument("--method", help=argparse.SUPPRESS)
    return parser.parse_args()


def _has_ants() -> bool:
    import importlib.util

    return importlib.util.find_spec("ants") is not None


def _in_process(method: str, pairs: str) -> Iterator[dict[str, object]]:
    """Run one method over all pairs in a fresh Python, and read its lines."""
    backend = method.split(":")[0]
    chosen = {"KERAS_BACKEND": backend} if backend in ("torch", "jax", "tensorflow") else {}
    command = [sys.executable, __file__, "--method", method, "--pairs", pairs]
    process = subprocess.Popen(
        command, env={**os.environ, **chosen}, stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout or ():
        if line.startswith("{"):
            row = json.loads(line)
            print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)
            yield row
    if process.wait():
        raise SystemExit(f"{method} failed with exit code {process.returncode}")


def _measure(method: str, pairs: list[str]) -> None:
    from anyvox_keras.geometry import resample_to
    from anyvox_keras.io import load_labels
    from anyvox_keras.metrics import folds_percent, mean_dice

    run, seen = _method(method), set()
    for name in pairs:
        folder = PAIRS / name
        fixed, moving = (load_labels(folder / f"{n}_seg.nii.gz") for n in ("fixed", "moving"))
        seconds, extra, field = _timed(run, folder, fixed.shape not in seen)
        seen.add(fixed.shape)
        labels = [int(label) for label in np.unique(fixed.array) if label > 0]
        row = {
            "method": method,
            "pair": name,
            "before": round(
                mean_dice(fixed.array, resample_to(moving, fixed.grid).array, labels), 4
            ),
            "dice": round(mean_dice(fixed.array, pull(moving.array, field), labels), 4),
            "folds_percent": round(folds_percent(field), 4),
            "seconds": round(seconds, 2),
            "start": round(extra, 2),
        }
        print(json.dumps(row), flush=True)


def _timed(run: Method, folder: Path, first: bool) -> tuple[float, float, np.ndarray]:
    """Steady seconds of one pair, what a first run takes more, and the displacement."""
    before = time.perf_counter()
    run(folder) if first else None
    start = time.perf_counter()
    field = run(folder)
    seconds = time.perf_counter() - start
    return seconds, max(0.0, start - before - seconds) if first else 0.0, field


def pull(labels: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Nearest-neighbour warp in numpy, the same for every method."""
    grid = np.stack(np.meshgrid(*map(np.arange, labels.shape), indexing="ij"), -1)
    where = np.floor(grid + field + 0.5).astype(int)
    inside = ((where >= 0) & (where < labels.shape)).all(-1)
    i, j, k = np.moveaxis(np.clip(where, 0, np.array(labels.shape) - 1), -1, 0)
    return np.where(inside, labels[i, j, k], 0)


def _method(name: str) -> Method:
    kind, settings = name.split(":")
    if kind == "convexadam":
        return _convexadam(settings)
    if kind == "ants":
        return lambda folder: _ants(folder, settings == "clipped")
    return lambda folder: _ours(folder, settings)


def _ours(folder: Path, preset: str) -> np.ndarray:
    from anyvox_keras.registration import register

    images = (folder / f"{name}.nii.gz" for name in ("fixed", "moving"))
    return register(*images, features="mind", preset=preset).displacement


def _convexadam(settings: str) -> Method:
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt

    paper = {"lambda_weight": 0.75, "grid_sp": 2, "disp_hw": 1}
    chosen = paper if settings == "paper" else {}
    cpu = torch.device("cpu")

    def run(folder: Path) -> np.ndarray:
        from anyvox_keras.io import load_volume

        images = (load_volume(folder / f"{name}.nii.gz").array for name in ("fixed", "moving"))
        return convex_adam_pt(*images, **chosen, dtype=torch.float32, device=cpu)

    return run


def _ants(folder: Path, clipped: bool) -> np.ndarray:
    """SyN with mutual information; its field as ours: voxels of the fixed grid.

    Its histogram spans the whole range of intensities, so that a few bright voxels (cortical bone
    in a CT) can mislead it: `clipped` cuts each image at its 5th and 95th percentile first.
    """
    import ants

    from anyvox_keras.io import load_volume, load_warp

    images = [ants.image_read(str(folder / f"{n}.nii.gz")) for n in ("fixed", "moving")]
    if clipped:
        images = [i.new_image_like(np.clip(i.numpy(), *_limits(i.numpy()))) for i in images]
    found = ants.registration(*images, "SyNOnly", initial_transform="Identity")
    warp = next(path for path in found["fwdtransforms"] if path.endswith(".nii.gz"))
    return load_warp(warp).to_voxels(load_volume(folder / "fixed.nii.gz").grid)


def _limits(array: np.ndarray) -> np.ndarray:
    return np.quantile(array, [0.05, 0.95])


def _print_table(rows: list[dict[str, object]]) -> None:
    print(
        f"\n{'method':22} {'brains':>7} {'spine':>7} {'folds %':>14} {'s/pair':>7} {'start s':>8}"
    )
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        brains = [row for row in mine if row["pair"] != "spine_ct_mr"]
        spine = [row for row in mine if row["pair"] == "spine_ct_mr"]
        dice = [
            f"{np.mean([r['dice'] for r in part]):.4f}" if part else "-" for part in (brains, spine)
        ]
        folds = [
            f"{max(r['folds_percent'] for r in part):.3f}" if part else "-"
            for part in (brains, spine)
        ]
        seconds = f"{np.mean([r['seconds'] for r in brains or spine]):.1f}"
        start = f"{sum(r['start'] for r in mine):.1f}"
        print(
            f"{method:22} {dice[0]:>7} {dice[1]:>7} {' / '.join(folds):>14} {seconds:>7} {start:>8}"
        )


if __name__ == "__main__":
    main()
