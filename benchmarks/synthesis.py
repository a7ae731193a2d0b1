"""Seconds and memory a synthetic pair takes, beside the MONAI/scipy chain on the same cores.

    python benchmarks/synthesis.py [--sides 64 128] [--pairs 8] [--backends tensorflow torch jax]
    python benchmarks/synthesis.py --templates 10 20 40 80     how the cost grows with templates
    python benchmarks/synthesis.py --fit                       whether `fit` waits for data

Each backend runs in its own process, on the device that it finds. A pair is a label map of 20 to 39
templates and two views, from the stream's integers to arrays on the device. The chain
(`tests/synthesis/straight_line.py`) runs one process a core; its seconds are wall time over all
pairs made. Memory is the GPU's where there is one. Needs the extras `test` and the backends.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SHAPES = 60
#: steps of `fit` that are timed
STEPS = 8
MASKS: list = []


def measure(side: int, pairs: int, eager: bool, templates: int | None) -> dict[str, Any]:
    """Time this process's backend: the first pair, which compiles, and the mean of the others."""
    from anyvox_keras import backend
    from benchmarks.training import extra_mb

    if eager:  # before the layers are imported
        backend.recorded = lambda fn: fn
    stream = make_stream(side, templates)
    before = backend.peak_memory_mb()
    seconds = [timed(lambda step=step: stream.draw(step)) for step in range(pairs + 1)]
    numbers = {"first": seconds[0], "each": statistics.mean(seconds[1:])}
    return {"device": backend.device_name(), **numbers, "extra_mb": extra_mb(before)}


def make_stream(side: int, templates: int | None = None) -> Any:
    """Make a stream of the law, or with one number of templates."""
    import anyvox_keras as avx

    count = (20, 40) if templates is None else (templates, templates + 1)
    labels = avx.LabelEnsemble(side, count=count)
    bank = avx.TemplateBank.geometric(SHAPES, side)
    return avx.SyntheticStream(bank, side=side, labels=labels, steps=STEPS)


def timed(make: Callable[[], dict[str, Any]]) -> float:
    """Seconds until a pair is on the device: one voxel of its last array is read."""
    from anyvox_keras.backend import to_numpy

    start = time.perf_counter()
    to_numpy(make()["view2"][0, -1, -1, -1])
    return time.perf_counter() - start


def measure_fit(side: int) -> dict[str, Any]:
    """Time steps of `fit` on the stream, on one batch in memory, and the generator alone."""
    import keras
    import numpy as np

    import anyvox_keras as avx

    stream = make_stream(side)
    generator = [timed(lambda step=step: stream.draw(step)) for step in range(STEPS)][1:]
    pair = next(stream.arrays())
    model = keras.Sequential([avx.UNet(), keras.layers.Conv3D(1, 1)])
    trainer = avx.WithSynthesis(model, stream, x="view1", y="view2")
    trainer.compile("adam", "mse")
    streamed = steps_of(lambda note: trainer.fit(stream, callbacks=[note], verbose=0))
    model.compile("adam", "mse")
    repeated = [np.repeat(pair[view], STEPS, axis=0) for view in ("view1", "view2")]
    cached = steps_of(lambda note: model.fit(*repeated, batch_size=1, callbacks=[note], verbose=0))
    from anyvox_keras import backend

    parts = {"generator": statistics.median(generator), "cached": cached}
    return {"device": backend.device_name(), **parts, "streamed": streamed}


def steps_of(fit: Callable[[Any], Any]) -> float:
    """Median seconds of a step, the first two left out."""
    import keras

    ends: list[float] = []

    def note(*_: Any, **__: Any) -> None:
        ends.append(time.perf_counter())

    fit(keras.callbacks.LambdaCallback(on_train_batch_end=note))
    return statistics.median(b - a for a, b in itertools.pairwise(ends[1:]))


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


def in_process(backend: str, mode: str, side: int, *more: str) -> dict[str, Any]:
    """Run one measurement in a fresh process."""
    command = [sys.executable, __file__, "--child", mode, "--sides", str(side), *more]
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{backend} {side}: {result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def header(names: str) -> None:
    """Begin a table."""
    print(f"| {names} |\n|" + "---|" * names.count("|") + "---|", flush=True)


def cells(row: dict[str, Any]) -> str:
    """Lay out what every table shows of a measurement."""
    return f"{row['device']} | {row['first']:.1f} | {row['each']:.3f} | {row['extra_mb']:.0f}"


def pair_table(options: argparse.Namespace) -> None:
    """Print the rows as they come; cost per voxel shows whether it is linear in them."""
    columns = "first s | s / pair | extra MB | ns / voxel | chain / this"
    header(f"side | what | mode | device | {columns}")
    pairs = options.pairs
    for side in options.sides:
        chain = in_process("torch", "chain", side, "--pairs", str(max(pairs, 4)))["each"]
        per_voxel = 1e9 * chain / side**3
        print(f"| {side} | MONAI/scipy chain | | CPU | | {chain:.3f} | | {per_voxel:.0f} | 1 |")
        for backend, mode in itertools.product(options.backends, options.modes):
            count = pairs if mode == "compiled" else 1
            row = in_process(backend, mode, side, "--pairs", str(count))
            last = f"{1e9 * row['each'] / side**3:.0f} | {chain / row['each']:.1f}"
            print(f"| {side} | {backend} | {mode} | {cells(row)} | {last} |", flush=True)


def template_table(options: argparse.Namespace) -> None:
    """Print the cost for several numbers of templates, and what each one more costs."""
    header("side | what | templates | device | first s | s / pair | extra MB | ms / template")
    for side, backend in itertools.product(options.sides, options.backends):
        before: tuple[int, float] | None = None
        for count in options.templates:
            arguments = ("--pairs", str(options.pairs), "--templates", str(count))
            row, more = in_process(backend, "compiled", side, *arguments), ""
            if before:
                more = f"{1e3 * (row['each'] - before[1]) / (count - before[0]):.2f}"
            before = count, row["each"]
            print(f"| {side} | {backend} | {count} | {cells(row)} | {more} |", flush=True)


def fit_table(options: argparse.Namespace) -> None:
    """Print whether a step on the stream costs more than a cached batch and the generator."""
    header("side | what | device | step on stream s | cached batch s | generator s | ratio")
    for side, backend in itertools.product(options.sides, options.backends):
        row = in_process(backend, "fit", side)
        numbers = " | ".join(f"{row[name]:.3f}" for name in ("streamed", "cached", "generator"))
        ratio = row["streamed"] / (row["cached"] + row["generator"])
        print(f"| {side} | {backend} | {row['device']} | {numbers} | {ratio:.2f} |", flush=True)


def child(options: argparse.Namespace) -> dict[str, Any]:
    """Measure in this process."""
    side = options.sides[0]
    if options.child == "chain":
        return measure_chain(side, options.pairs)
    if options.child == "fit":
        return measure_fit(side)
    templates = options.templates[0] if options.templates else None
    return measure(side, options.pairs, options.child == "eager", templates)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "torch", "jax"])
    parser.add_argument("--eager", action="store_true", help="also without compilation (slow)")
    parser.add_argument("--templates", type=int, nargs="+", help="numbers of templates to compare")
    parser.add_argument("--fit", action="store_true", help="steps of `fit` on the stream")
    modes = ["compiled", "eager", "chain", "fit"]
    parser.add_argument("--child", choices=modes, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.modes = ("compiled", "eager") if options.eager else ("compiled",)
    if options.child:
        print(json.dumps(child(options)))
        return
    print(f"{os.cpu_count()} cores, {options.pairs} pairs after the first\n")
    table = fit_table if options.fit else template_table if options.templates else pair_table
    table(options)


if __name__ == "__main__":
    main()
