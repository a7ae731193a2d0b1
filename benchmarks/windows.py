"""Whole-volume against sliding-window features: Dice and seconds for each overlap.

    KERAS_BACKEND=torch python benchmarks/windows.py --weights anyvox-base [--window 64]
        [--overlaps 0,0.25,0.5,0.8] [--features network,both] [--pairs t1_t2_1000,spine_ct_mr]

Every pair of $ANYVOX_DATA/data/registration is registered with the network's features of the whole
volume, and with those of windows that overlap by a share of their side. The seconds are the
features' of both images, without compilation: a window, or one volume, is computed before.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from registration import PAIRS

from anyvox_keras import FeatureExtractor, register
from anyvox_keras.backend import to_numpy
from anyvox_keras.io import load_volume


def main() -> None:
    """Print one row for the whole volume and one for each overlap."""
    options = _options()
    settings = {"whole volume": {}}
    for overlap in map(float, options.overlaps.split(",")):
        settings[f"overlap {overlap:g}"] = {"window": options.window, "overlap": overlap}
    kinds = options.features.split(",")
    heads = "".join(f"{f'Dice, {kind}':>15}" for kind in kinds)
    print(f"{'features':14}{'seconds':>9}{'difference':>12}{heads}")
    whole: dict[str, np.ndarray] = {}
    for name, window in settings.items():
        extractor = Remembered(FeatureExtractor.from_preset(options.weights, **window))
        seconds, apart, dice = [], [], {kind: [] for kind in kinds}
        for pair in options.pairs.split(","):
            taken, features = _timed(extractor, PAIRS / pair)
            whole.setdefault(pair, features)
            seconds.append(taken)
            apart.append(np.abs(features - whole[pair]).mean() / whole[pair].std())
            for kind in kinds:
                dice[kind].append(_dice(PAIRS / pair, kind, extractor))
        cells = "".join(f"{np.mean(dice[kind]):15.4f}" for kind in kinds)
        print(f"{name:14}{np.mean(seconds):9.1f}{np.mean(apart):12.3f}{cells}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True, help="preset name, preset folder, or a run")
    parser.add_argument("--window", type=int, default=64, help="side of a window")
    parser.add_argument("--overlaps", default="0,0.25,0.5,0.8")
    parser.add_argument("--features", default="network,both")
    parser.add_argument("--pairs", default=",".join(sorted(p.name for p in PAIRS.iterdir())))
    return parser.parse_args()


class Remembered:
    """An extractor that computes an image's features once."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        """Remember nothing yet."""
        self.extractor = extractor
        self.known: dict[bytes, np.ndarray] = {}

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return `(D, H, W, C)` features."""
        key = image.tobytes()
        if key not in self.known:
            self.known[key] = np.asarray(to_numpy(self.extractor(image)), "float16")
        return self.known[key].astype("float32")

    def warm_up(self, image: np.ndarray) -> None:
        """Compile for what a call computes at once."""
        window = self.extractor.window
        self.extractor(image if window is None else image[tuple(map(slice, window))])


def _timed(extractor: Remembered, folder: Path) -> tuple[float, np.ndarray]:
    """Seconds for the features of both images, and the fixed image's features."""
    fixed, moving = (load_volume(folder / f"{name}.nii.gz").array for name in ("fixed", "moving"))
    extractor.warm_up(fixed)
    start = time.perf_counter()
    features = extractor(fixed)
    extractor(moving)
    return time.perf_counter() - start, features


def _dice(folder: Path, kind: str, extractor: Remembered) -> float:
    names = ("fixed", "moving", "fixed_seg", "moving_seg")
    files = {name: folder / f"{name}.nii.gz" for name in names}
    result = register(**files, features=kind, extractor=extractor)
    return result.metrics["mean_dice"]["after"]


if __name__ == "__main__":
    main()
