"""Begin a pretraining on one backend, kill it, go on with it under another.

A run's folder holds plain arrays: weights, the optimizer's moments, the step. A run that was killed
goes on at the next pair of the stream whatever backend it wakes under, and its network gives the
same features on all of them.

KERAS_BACKEND names the backend that begins.
"""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np

SETTINGS = dict(
    side=16, shapes=50, steps=24, width=4, levels=2, output_channels=8, samples=64,
    augmentation="off", log_every=4, validate_every=24, validation_pairs=1,
)  # fmt: skip
KILLED_AT = 16
FEATURES = """
import sys
import numpy as np
import anyvox_keras as avx
unet = avx.UNet.from_preset(sys.argv[1])
volume = np.random.default_rng(0).uniform(size=(1, 16, 16, 16, 1)).astype("float32")
np.save(sys.argv[2], unet.predict_on_batch(volume))
"""


def python(backend: str, *words: object) -> subprocess.Popen:
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def pretrain(backend: str, run: Path, killed_at: int | None = None) -> None:
    """`anyvox pretrain --resume`, which begins a run where there is none."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
    process = python(
        backend, "-m", "anyvox_keras.cli", "pretrain", f"--out={run}", "--resume", *flags
    )
    for line in process.stdout:
        print(f"{backend:>10} | {line}", end="", flush=True)
        if line.startswith(f"step {killed_at}:"):
            process.send_signal(signal.SIGKILL)
    if process.wait() != (-signal.SIGKILL if killed_at else 0):
        raise SystemExit(f"{backend}: the run failed")


def features(backend: str, run: Path) -> np.ndarray:
    """Features of the run's network, computed by a process on that backend."""
    path = run / f"features_{backend}.npy"
    if python(backend, "-c", FEATURES, run, path).wait():
        raise SystemExit(f"{backend}: no features")
    return np.load(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="switched", type=Path, help="folder of the run")
    parser.add_argument("--to", help="backend that goes on")
    args = parser.parse_args()
    installed = [b for b in ("torch", "tensorflow", "jax") if importlib.util.find_spec(b)]
    first = os.environ.get("KERAS_BACKEND", installed[-1])
    second = args.to or next((b for b in installed if b != first), first)

    pretrain(first, args.out, KILLED_AT)
    with h5py.File(args.out / "state") as state:
        print(f"killed at step {KILLED_AT}; {second} goes on after step {state.attrs['step']}")
    pretrain(second, args.out)

    of_first = features(first, args.out)
    for backend in installed:
        apart = np.abs(features(backend, args.out) - of_first).max()
        print(f"features under {backend} and {first} differ by at most {apart:.1e}")
        if apart > 1e-4:
            raise SystemExit("the backends disagree")


if __name__ == "__main__":
    main()
