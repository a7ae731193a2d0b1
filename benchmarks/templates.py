"""Size of a bank file and the time it takes to open it and to draw from it.

    python benchmarks/templates.py [--count 45000] [--side 128] [--folder DIR] [--out DIR]

`--count` templates are made of 300 geometric shapes, over and over, in one file under `--out`
(several gigabytes, removed at the end). With `--folder` a folder of segmentations is read, too.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import anyvox_keras as avx
from anyvox_keras.templates.bank_file import BankBuilder, PackedMask, pack_mask

SHAPES = 300


def build(path: Path, count: int, side: int) -> None:
    """Write a bank of many templates as a folder of them would be."""
    shapes = avx.TemplateBank.geometric(SHAPES, side)
    packed = [pack_mask(shapes.mask(i)) for i in range(SHAPES)]
    with BankBuilder(path, {}) as builder:
        for i in range(count):
            name = f"s{i // 40:04d}/segmentations/organ_{i:05d}"
            builder.add(name, [PackedMask(name, *packed[i % SHAPES])])
        builder.finish()


def report(path: Path, make: Callable[[], object]) -> None:
    """Build a bank, open it, draw from it; print one row of the table."""
    start = time.perf_counter()
    make()
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    bank = avx.TemplateBank.open(path)
    opened = time.perf_counter() - start
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(50):
        start = time.perf_counter()
        bank.pack(rng.integers(0, len(bank), 39))
        draws.append(time.perf_counter() - start)
    size = os.path.getsize(path)
    numbers = f"{size / 1e9:.2f} | {size / len(bank):.0f} | {seconds:.1f} | {opened:.3f}"
    print(f"| {len(bank)} | {numbers} | {1e3 * float(np.median(draws)):.1f} |", flush=True)


def main() -> None:
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=45_000)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    print("| templates | file GB | bytes a template | build s | open s | draw of 39 ms |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        path = Path(folder) / "shapes.bank"
        report(path, lambda: build(path, options.count, options.side))
        if options.folder:
            path = Path(folder) / "folder.bank"
            report(path, lambda: avx.TemplateBank.from_segmentations(options.folder, cache=path))


if __name__ == "__main__":
    main()
