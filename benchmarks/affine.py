"""Scans that are not aligned at all: Dice after the rigid and the affine stage alone.

    KERAS_BACKEND=torch python benchmarks/affine.py [--pairs brain,masked,spine]

T1 -> T2 of a brain (with and without the two brain masks) and CT -> MR of a vertebra, each from its
own grid, origin and orientation, under $ANYVOX_DATA/data/native.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from anyvox_keras.geometry import Volume, resample_to
from anyvox_keras.io import load_labels, load_mask, load_volume
from anyvox_keras.metrics import mean_dice
from anyvox_keras.registration import align

DATA = Path(os.environ.get("ANYVOX_DATA", Path(__file__).parents[2] / "shared")) / "data"
NATIVE, PREPARED = DATA / "native", DATA / "registration"
# Neuromorphometrics' numbers of the prepared labels 1, 2, ...
BRAIN = [59, 60, 36, 37, 57, 58, 55, 56, 47, 48, 31, 32, 23, 30, 51, 52, 35, 38, 39, 4, 11, 40,
         41, 44, 45]  # fmt: skip
BARS = {"brain": 0.667, "masked": 0.667, "spine": 0.394}


def main() -> None:
    """Print one row a pair and model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", default="brain,masked,spine")
    names = parser.parse_args().pairs.split(",")
    print(f"{'pair':8} {'model':8} {'headers':>8} {'Dice':>7} {'prepared':>9} {'seconds':>8}")
    for name in names:
        fixed, moving, labels, masks = (_spine if name == "spine" else _brain)(name == "masked")
        before = _dice(*labels, np.eye(4))
        for model in ("rigid", "affine"):
            start = time.perf_counter()
            matrix = align(fixed, moving, model, masks)
            seconds = time.perf_counter() - start
            after = _dice(*labels, matrix)
            row = f"{before:8.3f} {after:7.3f} {BARS[name]:9.3f} {seconds:8.1f}"
            print(f"{name:8} {model:8} {row}", flush=True)


def _brain(masked: bool) -> tuple:
    fixed = load_volume(NATIVE / "MNI152_T2_2mm.nii.gz")
    moving = load_volume(NATIVE / "1000_SS.nii.gz")
    prepared = PREPARED / "t1_t2_1000"
    labels = (
        load_labels(prepared / "fixed_seg.nii.gz"),
        _renamed(
            load_labels(NATIVE / "1000_glm.nii.gz"),
            {n: [number] for n, number in enumerate(BRAIN, 1)},
        ),
    )
    mask = load_mask(prepared / "fixed_mask.nii.gz", of=fixed, what="fixed mask").array
    return fixed, moving, labels, (mask, moving.array > 0) if masked else (None, None)


def _spine(_: bool) -> tuple:
    fixed = load_volume(NATIVE / "sub-mri_label-6_T2w.nii.gz")
    moving = load_volume(NATIVE / "sub-ct_label-22_ct.nii.gz")
    names = {**{n: [40 + n] for n in range(1, 9)}, 9: [49, 50]}
    files = ("sub-mri_seg-subreg_label-6_msk", "sub-ct_seg-subreg_label-22_msk")
    labels = tuple(_renamed(load_labels(NATIVE / f"{file}.nii.gz"), names) for file in files)
    return fixed, moving, labels, (None, None)


def _renamed(labels: Volume, names: dict[int, list[int]]) -> Volume:
    array = np.zeros_like(labels.array)
    for name, numbers in names.items():
        array[np.isin(labels.array, numbers)] = name
    return Volume(array, labels.affine)


def _dice(fixed: Volume, moving: Volume, matrix: np.ndarray) -> float:
    """Mean Dice of the labels on the fixed grid, one nearest-neighbour resampling."""
    moved = resample_to(Volume(moving.array, np.linalg.inv(matrix) @ moving.affine), fixed.grid)
    counted = [int(label) for label in np.unique(fixed.array) if label > 0]
    return mean_dice(fixed.array, moved.array, counted)


if __name__ == "__main__":
    main()
