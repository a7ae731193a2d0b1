"""Seconds and memory a synthetic pair takes, beside the MONAI/scipy chain on the same cores.

    python benchmarks/synthesis.py [--sides 64 128] [--pairs 8] [--backends tensorflow torch jax]

Each backend runs in its own process. A pair is a label map of 20 to 39 templates and two views. The
chain (`tests/synthesis/straight_line.py`) runs one process a core; its seconds are wall time over
all pairs made. Needs the extras `test` and the backends.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHAPES = 60
MASKS: list = []


def measure(side: int, pairs: int, eager: bool) -> dict[str, float]:
    """Time this process's backend: the first pair, which compiles, and the mean of the others."""
    import numpy as np

    import anyvox_keras as avx
    from anyvox_keras.ops import _backend

    if eager:
        _backend.compiled = lambda fn: fn
    stream = avx.SyntheticStream(avx.TemplateBank.geometric(SHAPES, side), side=side)
    before = _backend.peak_memory_mb()
    seconds = []
    arrays = stream.arrays()
    for _ in range(pairs + 1):
        start = time.perf_counter()
        next(arrays)
        seconds.append(time.perf_counter() - start)
    extra = _backend.peak_memory_mb() - before
    return {"first": seconds[0], "each": float(np.mean(seconds[1:])), "extra_mb": extra}


def load_chain(side: int) -> None:
    """Give a worker of the chain its shapes and one core."""
    import torch

    from anyvox_keras import TemplateBank

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    bank = TemplateBank.geometric(SHAPES, side)
    MASKS.extend(bank.mask(i) for i in range(SHAPES))
    chain_pair((16, 0))


def chain_pair(arguments: tuple[int, int]) -> None:
    """Make one pair by the straight-line chain."""
    import numpy as np

    from tests.synthesis import straight_line

    side, seed = arguments
    rng = np.random.default_rng(seed)
    labels = straight_line.label_map(rng, MASKS, side)
    for _ in range(2):
        straight_line.view(rng, labels)


def measure_chain(side: int, pairs: int) -> dict[str, float]:
    """Time the chain on all cores, its workers loaded and warm."""
    cores = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    with context.Pool(cores, initializer=load_chain, initargs=(side,)) as pool:
        pool.map(chain_pair, [(16, seed) for seed in range(4 * cores)], chunksize=1)
        start = time.perf_counter()
        pool.map(chain_pair, [(side, seed) for seed in range(pairs)], chunksize=1)
        return {"each": (time.perf_counter() - start) / pairs}


def in_process(backend: str, side: int, pairs: int, mode: str) -> dict[str, float]:
    """Run one measurement in a fresh process."""
    command = [sys.executable, __file__, "--child", mode, "--sides", str(side)]
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [*command, "--pairs", str(pairs)], env=environment, capture_output=True, text=True
    )
    if result.returncode:
        raise SystemExit(f"{backend} {side}: {result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def table(sides: list[int], pairs: int, backends: list[str], eager: bool) -> None:
    """Print the rows as they come."""
    print(f"{os.cpu_count()} cores, {pairs} pairs after the first")
    print("| side | what | mode | first pair s | s / pair | extra memory MB | chain / this |")
    print("|---|---|---|---|---|---|---|")
    for side in sides:
        chain = in_process("torch", side, max(pairs, 4), "chain")["each"]
        print(f"| {side} | MONAI/scipy chain | | | {chain:.2f} | | 1 |", flush=True)
        for backend in backends:
            for mode in ("compiled", "eager") if eager else ("compiled",):
                row = in_process(backend, side, pairs if mode == "compiled" else 1, mode)
                faster = chain / row["each"]
                numbers = f"{row['first']:.1f} | {row['each']:.2f} | {row['extra_mb']:.0f}"
                print(f"| {side} | {backend} | {mode} | {numbers} | {faster:.1f} |", flush=True)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "torch", "jax"])
    parser.add_argument("--eager", action="store_true", help="also without compilation (slow)")
    parser.add_argument("--child", choices=["compiled", "eager", "chain"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is None:
        table(options.sides, options.pairs, options.backends, options.eager)
    elif options.child == "chain":
        print(json.dumps(measure_chain(options.sides[0], options.pairs)))
    else:
        print(json.dumps(measure(options.sides[0], options.pairs, options.child == "eager")))


if __name__ == "__main__":
    main()
