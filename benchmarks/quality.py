"""Verdicts on pairs that register and on pairs made to fail.

    python benchmarks/quality.py [--cache quality.json] [--sets ...]

Every pair of the registration data is registered as it is; and made to fail: with the moving image
of another set, mirrored, moved by 40 mm (at most 0.6 of the field of view), and of noise. The table
counts verdicts a kind; a good pair that FAILs and a bad one that PASSes are named. Labels are not
given, so that the images alone decide; a mirrored image is hard to tell where anatomy is symmetric.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from registration_table import set_of
from scipy import ndimage

DATA = Path(os.environ.get("ANYVOX_DATA", Path(__file__).parents[2] / "shared"))
PAIRS = DATA / "data" / "registration"
KINDS = ("good", "unrelated", "mirrored", "far", "noise")


def main() -> None:
    """Register what the cache lacks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path("quality.json"))
    parser.add_argument("--sets", type=lambda text: text.split(","))
    options = parser.parse_args()
    every = sorted((p.name for p in PAIRS.iterdir()), key=_size)
    found = json.loads(options.cache.read_text()) if options.cache.exists() else {}
    for number, name in enumerate(every):
        if options.sets and set_of(name) not in options.sets:
            continue
        other = next(x for x in every[number - 1 :: -1] + every[::-1] if set_of(x) != set_of(name))
        for kind in KINDS:
            if f"{kind} {name}" not in found:
                found[f"{kind} {name}"] = _verdict(kind, name, other)
                print(kind, name, found[f"{kind} {name}"], flush=True)
                options.cache.write_text(json.dumps(found, indent=0))
    _print_table(found)


def _size(name: str) -> int:
    return (PAIRS / name / "fixed.nii.gz").stat().st_size


def _verdict(kind: str, name: str, other: str) -> dict[str, object]:
    from anyvox_keras.geometry import Volume
    from anyvox_keras.io import load_volume
    from anyvox_keras.registration import register

    fixed, moving = (load_volume(PAIRS / name / f"{side}.nii.gz") for side in ("fixed", "moving"))
    array = _spoilt(kind, moving, load_volume(PAIRS / other / "moving.nii.gz").array)
    result = register(fixed, Volume(array, moving.affine), "mind")
    return result.quality.as_dict()


def _spoilt(kind: str, moving: Any, other: np.ndarray) -> np.ndarray:
    array = moving.array
    if kind == "unrelated":
        factors = [a / b for a, b in zip(array.shape, other.shape, strict=True)]
        return ndimage.zoom(other, factors, order=1).astype("float32")
    if kind == "mirrored":
        return array[::-1].copy()
    if kind == "far":
        steps = min(40 / moving.spacing[0], 0.6 * array.shape[0])
        return ndimage.shift(array, (steps, 0, 0), order=1, cval=float(array.min()))
    if kind == "noise":
        return np.random.default_rng(0).normal(size=array.shape).astype("float32")
    return array


def _print_table(found: dict[str, dict[str, object]]) -> None:
    print(f"\n{'kind':10} {'PASS':>5} {'WARN':>5} {'FAIL':>5}")
    for kind in KINDS:
        verdicts = [v["verdict"] for key, v in found.items() if key.startswith(f"{kind} ")]
        print(f"{kind:10} " + " ".join(f"{verdicts.count(v):5}" for v in ("PASS", "WARN", "FAIL")))
    for key, quality in found.items():
        wrong = "FAIL" if key.startswith("good ") else "PASS"
        if quality["verdict"] == wrong:
            print(f"{wrong}: {key}: {'; '.join(quality['reasons'])}")


if __name__ == "__main__":
    main()
