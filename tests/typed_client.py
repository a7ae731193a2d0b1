"""A user's program, which `make lint` checks with mypy strict.

Each line that is a mistake is marked; a mistake that the package's types let through fails too,
since its mark is then unused.
"""

from pathlib import Path

import numpy as np

import anyvox_keras as avx
from anyvox_keras import geometry, io
from anyvox_keras.segmentation import Prediction, Predictor


def register(fixed: Path, moving: Path) -> float:
    """Results have types: no cast is needed."""
    result: avx.Registration = avx.register(fixed, moving, features="mind")
    shift: np.ndarray = result.displacement
    verdict: str = result.quality.verdict
    folder: Path = result.save("out", overwrite=True)
    print(shift.shape, verdict, folder)
    avx.register(fixed, moving, features="mnd")  # type: ignore[arg-type]
    avx.register(fixed, moving, smothness=2.0)  # type: ignore[call-arg]
    return result.folds_percent


def segment(predictor: Predictor, scan: Path) -> tuple[int, ...]:
    """What a predictor finds is a volume."""
    found: Prediction = predictor(scan)
    volume: geometry.Volume = found
    found.shape = (1, 2, 3)  # type: ignore[misc]
    return volume.shape


def stream(bank: avx.TemplateBank) -> int:
    """A stream tells how many classes it paints."""
    pairs = avx.SyntheticStream(bank, side=32, seed=0)
    avx.SyntheticStream(bank, side="32")  # type: ignore[arg-type]
    return pairs.classes


def convert(source: Path, out: Path) -> None:
    """Files go in and out by path."""
    chain: geometry.Chain = io.load_transform(source)
    io.save_transform(out, chain)
    io.save_transform(chain, out)  # type: ignore[arg-type]
