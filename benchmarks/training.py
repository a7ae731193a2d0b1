"""Seconds and memory of a training step and of inference, beside a plain PyTorch UNet.

    python benchmarks/training.py [--sides 64 96] [--backends torch tensorflow jax]

The network is `UNet()` at its defaults, the published one; the batch two volumes, as the two views
of a pair are. A step is forward, squared error, backward, Adam, by `train_on_batch`. The plain
network (`plain_unet.py`) has the same layout in eager PyTorch, its tensors in memory as PyTorch
keeps them by default, and channels-last, which is faster: hence two columns of ratios. Seconds are
medians after two unmeasured runs. Every measurement has its own process, one after the other. On a
GPU: 128^3 under bfloat16, the plain network also compiled.

`--loss` measures what the contrastive loss takes for 2 x 4096 rows of 256 numbers, `--pairs` how
many pairs a second the recipe of the weights trains on with synthesis in the graph, and how many
when one pair is drawn before and used again; `--crop` and `--cubes` cut them.
"""

import argparse
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
PLAIN = ("plain", "plain channels-last")
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
ROWS, NUMBERS = 2 * 4096, 256


def median(run: Callable[[], object], steps: int) -> float:
    """Seconds of one run, after two unmeasured ones."""
    run(), run()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def resident_mb() -> float:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def extra_mb(before: float) -> float:
    """Most memory since: of the GPU where PyTorch or JAX computes on one, else resident."""
    import importlib

    from anyvox_keras import backend

    if backend.device_name() == "CPU":
        return backend.peak_memory_mb() - before
    framework = importlib.import_module(backend.NAME)
    if backend.NAME == "torch":
        return framework.cuda.max_memory_allocated() / 2**20
    if backend.NAME == "jax":
        return framework.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20
    return framework.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20


def measure_keras(options: argparse.Namespace) -> dict[str, float]:
    """Time the Keras network on this process's backend."""
    import keras
    import numpy as np

    import anyvox_keras as avx

    unet = avx.UNet(seed=0, dtype=PRECISIONS[options.precision])
    unet.compile(keras.optimizers.Adam(2e-4), "mse")
    x = np.random.default_rng(0).uniform(size=(2, *(options.side,) * 3, 1)).astype("float32")
    y = np.zeros((*x.shape[:-1], 16), "float32")
    before = resident_mb()
    inference = median(lambda: unet.predict_on_batch(x), options.steps)
    inference_mb = extra_mb(before)
    step = median(lambda: unet.train_on_batch(x, y), options.steps)
    found = {"step": step, "step_mb": extra_mb(before), "parameters": unet.count_params()}
    return {**found, "inference": inference, "inference_mb": inference_mb}


def measure_plain(options: argparse.Namespace) -> dict[str, float]:
    """Time the plain network."""
    import torch
    from plain_unet import PlainUNet

    device = "cuda" if torch.cuda.is_available() else "cpu"
    layout = torch.contiguous_format
    if "channels-last" in options.what:
        layout = torch.channels_last_3d
    unet = PlainUNet().to(device, memory_format=layout)
    call = torch.compile(unet) if "compiled" in options.what else unet
    optimizer = torch.optim.Adam(unet.parameters(), 2e-4)
    x = torch.rand(2, 1, *(options.side,) * 3, device=device).to(memory_format=layout)
    y = torch.zeros(2, 16, *(options.side,) * 3, device=device).to(memory_format=layout)
    narrow = torch.autocast(device, torch.bfloat16, enabled=options.precision == "bfloat16")

    def infer() -> None:
        with torch.no_grad(), narrow:
            call(x).float().cpu()

    def train() -> None:
        with narrow:
            loss = torch.nn.functional.mse_loss(call(x).float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    before = resident_mb()
    unet.eval()
    inference = median(infer, options.steps)
    inference_mb = extra_mb(before)
    unet.train()
    step = median(train, options.steps)
    parameters = sum(t.numel() for t in (*unet.parameters(), *unet.buffers()) if t.ndim)
    found = {"step": step, "step_mb": extra_mb(before), "parameters": parameters}
    return {**found, "inference": inference, "inference_mb": inference_mb}


def measure_loss(options: argparse.Namespace) -> dict[str, float]:
    """Memory that one step through the loss takes beyond its rows and their gradient's weights."""
    import keras
    import numpy as np

    import anyvox_keras as avx

    rng = np.random.default_rng(0)
    # The few rows load what the framework loads at its first step.
    for rows in (64, ROWS):
        model = keras.Sequential([keras.Input((rows, NUMBERS)), keras.layers.Dense(NUMBERS)])
        model.compile("sgd", avx.MultiPositiveContrastiveLoss())
        x = rng.normal(size=(1, rows, NUMBERS)).astype("float32")
        labels = rng.integers(0, 30, (1, rows)).astype("int32")
        before = resident_mb()
        seconds = median(functools.partial(model.train_on_batch, x, labels), 1)
    return {"step": seconds, "step_mb": extra_mb(before)}


def seconds_a_step(model: Any, data: Any, steps: int) -> float:
    """Mean of the last `steps` steps of `fit`, the first two left out."""
    import keras

    ends: list[float] = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter() + 0 * logs["loss"])
    )
    model.fit(data, callbacks=[note], verbose=0)
    return (ends[-1] - ends[1]) / steps


def repeated(batch: dict[str, np.ndarray], steps: int) -> Any:
    """The same batch at each step."""
    import keras

    class Repeated(keras.utils.PyDataset):
        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray]]:
            return (batch,)

    return Repeated()


def measure_pairs(options: argparse.Namespace) -> dict[str, float]:
    """Seconds of a step of the weights' recipe, and of the same step on one pair drawn before."""
    import anyvox_keras as avx
    from anyvox_keras.backend import to_numpy

    bank = avx.TemplateBank.geometric(200, options.side)
    stream = avx.SyntheticStream(bank, options.side, steps=options.steps + 2)
    policy = PRECISIONS[options.precision]
    pretrainer = avx.ContrastivePretrainer(
        avx.UNet.from_preset("anyvox-base", dtype=policy), samples=2048, balanced=True,
        voxel_weight=0.7, temperature=0.1, crop=options.crop, cubes=options.cubes, dtype=policy,
    )  # fmt: skip
    pretrainer.compile()
    before = resident_mb()
    step = seconds_a_step(pretrainer, stream, options.steps)
    step_mb = extra_mb(before)
    drawn = stream.layer(stream[0][0])
    pair = {name: to_numpy(drawn[name]) for name in ("view1", "view2", "label_map")}
    again = seconds_a_step(pretrainer, repeated(pair, options.steps + 2), options.steps)
    return {"step": step, "cached": again, "step_mb": step_mb}


CHILDREN = {"loss": measure_loss, "pairs": measure_pairs, "keras": measure_keras}


def child(backend: str, what: str, side: int, options: argparse.Namespace) -> dict[str, float]:
    """Run one measurement in a fresh process."""
    command = [sys.executable, __file__, "--child", what, "--sides", str(side)]
    command += ["--steps", str(options.steps), "--precision", options.precision]
    command += ["--cubes", str(options.cubes)]
    command += ["--crop", str(options.crop)] if options.crop else []
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{backend} {what} {side}: {result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def gpu_name() -> str:
    """Name of the first GPU, empty without one."""
    if shutil.which("nvidia-smi") is None:
        return ""
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True).stdout.strip().split("\n")[0]


def table(options: argparse.Namespace) -> None:
    """Print the rows as they come."""
    print(f"{options.device}, {os.cpu_count()} cores, {options.precision}")
    columns = "side | network | step s | inference s | step MB | inference MB"
    print(f"| {columns} | plain / this | channels-last / this |")
    print("|---" * 8 + "|")
    for side in options.sides:
        rows = {kind: child("torch", kind, side, options) for kind in PLAIN}
        plain = [row["step"] for row in rows.values()]
        for kind, row in rows.items():
            print_row(side, f"PyTorch, {kind}", row, plain)
        for kind in options.compiled:
            print_row(side, f"PyTorch, {kind}", child("torch", kind, side, options), plain)
        for backend in options.backends:
            print_row(side, f"anyvox, {backend}", child(backend, "keras", side, options), plain)


def print_row(side: int, name: str, row: dict[str, float], plain: list[float]) -> None:
    """Print one row as soon as it is there."""
    numbers = f"{row['step']:.3f} | {row['inference']:.3f} | {row['step_mb']:.0f} | "
    numbers += " | ".join(
        [f"{row['inference_mb']:.0f}", *(f"{p / row['step']:.2f}" for p in plain)]
    )
    print(f"| {side} | {name} | {numbers} |", flush=True)


def extras(options: argparse.Namespace) -> None:
    """Print what was asked for beside the table."""
    for backend in options.backends:
        if options.loss:
            row = child(backend, "loss", 0, options)
            print(f"loss, {backend}: {row['step']:.2f} s, {row['step_mb']:.0f} MB", flush=True)
        for side in options.sides if options.pairs else ():
            row = child(backend, "pairs", side, options)
            rate = f"{options.cubes / row['step']:.3f} pairs/s, from one cached pair "
            rate += f"{options.cubes / row['cached']:.3f} pairs/s, {row['step_mb']:.0f} MB"
            print(f"default recipe, {backend}, {side}^3: {rate}", flush=True)


def main() -> None:
    """Read the arguments; the defaults depend on whether there is a GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="*")
    parser.add_argument("--steps", type=int, default=4, help="measured runs")
    parser.add_argument("--backends", nargs="+", default=["torch", "tensorflow", "jax"])
    parser.add_argument("--precision", choices=PRECISIONS)
    parser.add_argument("--loss", action="store_true", help="the loss's memory, then end")
    parser.add_argument("--pairs", action="store_true", help="pairs a second, then end")
    parser.add_argument("--crop", type=int, help="side of the cubes that are trained on")
    parser.add_argument("--cubes", type=int, default=1, help="cubes of each pair")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        options.side, options.what = options.sides[0], options.child
        print(json.dumps(CHILDREN.get(options.child, measure_plain)(options)))
        return
    gpu = gpu_name()
    options.device = gpu or "CPU"
    options.compiled = ["plain compiled"] if gpu else []
    options.precision = options.precision or ("bfloat16" if gpu else "float32")
    options.sides = options.sides or ([128] if gpu else [64, 96])
    if options.loss or options.pairs:
        extras(options)
    else:
        table(options)


if __name__ == "__main__":
    main()
