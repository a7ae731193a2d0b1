"""Peak memory of one registration: a pair of side^3 voxels, on this machine's backend.

    KERAS_BACKEND=torch python benchmarks/registration_memory.py [--side 256] [--features mind]
        [--memory GB] [--iterations 80] [--save]

Steps of the descent cost time, not memory: with few of them the figure comes sooner, and what is
found is worth less. With `both` the network is an untrained one of the base architecture: memory
and time are the same. With --save the results are written, to a folder that is removed again.
"""

import argparse
import tempfile
import time
from dataclasses import replace

import numpy as np
from scipy import ndimage

from anyvox_keras import FeatureExtractor, UNet, register
from anyvox_keras.backend import NAME, peak_memory_mb
from anyvox_keras.registration import settings_of


def main() -> None:
    """Register noise to the same noise, moved by three voxels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--features", default="mind", choices=("mind", "both"))
    parser.add_argument("--memory", type=float, help="bound in GB; 12 if not given")
    parser.add_argument("--iterations", type=int, default=80)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    noise = np.random.default_rng(0).normal(size=(options.side,) * 3).astype("float32")
    fixed = ndimage.gaussian_filter(noise, 3)
    moving = np.roll(fixed, 3, axis=0)
    del noise
    extractor = FeatureExtractor(UNet()) if options.features == "both" else None
    default = settings_of("default")
    settings = replace(default, adam=replace(default.adam, iterations=options.iterations))
    before, start = peak_memory_mb(), time.perf_counter()
    result = register(
        fixed,
        moving,
        settings=settings,
        features=options.features,
        extractor=extractor,
        memory=options.memory,
    )
    seconds = time.perf_counter() - start
    if options.save:
        with tempfile.TemporaryDirectory() as folder:
            result.save(folder)
    inner = result.displacement[(slice(16, -16),) * 3]
    print(
        f"{NAME} {options.features} {options.side}^3: peak {peak_memory_mb() / 1024:.1f} GB "
        f"({before / 1024:.1f} before), {seconds:.0f} s, "
        f"mean displacement {inner.mean((0, 1, 2)).round(2).tolist()} (true: 3, 0, 0)"
    )


if __name__ == "__main__":
    main()
