"""What labels, landmarks and a second channel give where they count in the search.

    python benchmarks/guides.py labels|landmarks|channels [--pair NAME] [--weights 0,1,3]

Half of a pair's labels (the odd ones) or of its landmarks (every second) guide the search; the
other half is what counts. Channels: a T1 onto the T2 and the PD template of the head pairs, each
alone and both. One line per registration, default settings, MIND.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

import anyvox_keras as avx
from anyvox_keras.io import load_labels
from anyvox_keras.metrics import mean_dice, target_registration_error as distance
from anyvox_keras.registration import Registration, landmarks_of

DATA = Path(os.environ.get("ANYVOX_DATA", Path(__file__).parents[2] / "shared"))
PAIRS = DATA / "data" / "registration"


def main() -> None:
    """Register and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["labels", "landmarks", "channels"])
    parser.add_argument("--pair", default="t1_t2_1000")
    parser.add_argument("--weights", type=lambda text: [float(w) for w in text.split(",")])
    options = parser.parse_args()
    if options.what == "channels":
        channels(options.pair)
        return
    for weight in options.weights or [0.0, 1.0]:
        {"labels": labels, "landmarks": landmarks}[options.what](options.pair, weight)


def registered(folder: Path, told: str, fixed: Any = None, **options: Any) -> Registration:
    """Register a folder's images; `told` and the seconds begin the line."""
    start = time.perf_counter()
    fixed = folder / "fixed.nii.gz" if fixed is None else fixed
    result = avx.register(fixed, folder / "moving.nii.gz", "mind", **options)
    seconds = time.perf_counter() - start
    print(f"{told}: folds {result.folds_percent:.3f} %, {seconds:.0f} s", end=", ", flush=True)
    return result


def labels(name: str, weight: float) -> None:
    """Mean Dice of the odd labels, which guide, and of the even ones, which do not."""
    folder = PAIRS / name
    fixed, moving = (load_labels(folder / f"{side}_seg.nii.gz").array for side in SIDES)
    odd = {f"{s}_seg": x * (x % 2) for s, x in zip(SIDES, (fixed, moving), strict=True)}
    result = registered(folder, f"{name}, labels {weight:g}", label_weight=weight, **odd)
    moved = result.apply(folder / "moving_seg.nii.gz", labels=True)
    known = [int(label) for label in np.unique(fixed) if label]
    for what, rest in (("guiding", 1), ("kept back", 0)):
        some = [label for label in known if label % 2 == rest]
        before, after = (mean_dice(fixed, x, some) for x in (moving, moved))
        print(f"{what} {before:.4f} -> {after:.4f}", end="; " if rest else "\n")


def landmarks(name: str, weight: float) -> None:
    """Mean distance, mm, of every second landmark, which guides, and of the others."""
    folder = PAIRS / name
    found = landmarks_of(*(folder / f"{side}_points.csv" for side in SIDES))
    if found is None:
        raise SystemExit(f"{name} has no landmarks")
    fixed, moving = found
    points = {"fixed_points": fixed[::2], "moving_points": moving[::2]}
    result = registered(folder, f"{name}, landmarks {weight:g}", landmark_weight=weight, **points)
    for what, first in (("guiding", 0), ("kept back", 1)):
        here, there = fixed[first::2], moving[first::2]
        before, after = distance(here, there), distance(result.apply(here, points=True), there)
        print(f"{what} {before:.3f} -> {after:.3f} mm", end="\n" if first else "; ")


def channels(name: str) -> None:
    """Mean Dice of a T1 on the T2 template, on the PD template, and on both."""
    folder = PAIRS / name
    t2, pd = (PAIRS / pair / "fixed.nii.gz" for pair in ("t1_t2_1000", "t1_pd_1007"))
    both = {"fixed_channels": [pd], "moving_channels": [folder / "moving.nii.gz"]}
    for what, fixed, more in (("T2", t2, {}), ("PD", pd, {}), ("T2 and PD", t2, both)):
        maps = {f"{side}_seg": folder / f"{side}_seg.nii.gz" for side in SIDES}
        result = registered(folder, f"{name}, {what}", fixed, **maps, **more)
        dice = result.metrics["mean_dice"]
        print(f"Dice {dice['before']:.4f} -> {dice['after']:.4f}")


SIDES = ("fixed", "moving")

if __name__ == "__main__":
    main()
