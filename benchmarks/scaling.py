"""Pretraining on more devices: what is measured here, and what a model says of more.

    KERAS_BACKEND=torch python benchmarks/scaling.py --steps 6 --side 32

Measured: seconds of a step on one device and on two (parts of one CPU where there is no GPU), each
device with one pair. Modelled, for 8 to 256 GPUs: a step is the compute of one device plus a ring
all-reduce of the gradients, 2 (N - 1) / N of their bytes over the slowest link and 2 (N - 1)
latencies, nothing overlapped and no device late.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras

import anyvox_keras as avx

DEVICES = (8, 16, 32, 64, 128, 256)
#: bytes a second and seconds of latency of a link between two machines
LINKS = {"10 Gbit/s Ethernet": (1.25e9, 3e-5), "200 Gbit/s InfiniBand": (2.5e10, 2e-6)}


def step_seconds(devices: int, steps: int, side: int, width: int) -> float:
    """Seconds of a step with a pair for each device, of the command line's own log."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        words = dict(side=side, width=width, steps=2 * steps, log_every=steps, validate_every=steps)
        words |= dict(validation_pairs=0, batch_size=devices, devices=devices, out=run, shapes=20)
        flags = [word for k, v in words.items() for word in (f"--{k.replace('_', '-')}", str(v))]
        command = [sys.executable, "-m", "anyvox_keras.cli", "pretrain", *flags]
        subprocess.run(command, check=True, env=os.environ, stdout=subprocess.DEVNULL)
        with open(run / "log.csv", newline="") as file:
            last = list(csv.DictReader(file))[-1]  # the first row holds tracing and compiling
    return devices / float(last["pairs_per_second"])


def ring_seconds(devices: int, size: float, speed: float, latency: float) -> float:
    """Seconds of a ring all-reduce of so many bytes."""
    return 2 * (devices - 1) * (size / devices / speed + latency)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6, help="Steps that are timed.")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--width", type=int, default=16, help="Channels of the first level.")
    parser.add_argument("--gpu-seconds", type=float, help="Of a step, where it was measured.")
    given = parser.parse_args()
    one, two = (step_seconds(n, given.steps, given.side, given.width) for n in (1, 2))
    size = 4 * avx.UNet(width=given.width).count_params()
    print(f"backend {keras.backend.backend()}, side {given.side}, gradients {size / 1e6:.1f} MB")
    print(
        f"measured: 1 device {one:.3f} s a step, 2 devices {two:.3f} s, efficiency {one / two:.2f}"
    )
    compute, source = (given.gpu_seconds or one), "given" if given.gpu_seconds else "measured here"
    print(f"modelled from {compute:.3f} s a step on one device ({source}):")
    print(f"{'devices':>8}" + "".join(f"{name:>24}" for name in LINKS))
    for devices in DEVICES:
        shares = [
            compute / (compute + ring_seconds(devices, size, *link)) for link in LINKS.values()
        ]
        print(f"{devices:>8}" + "".join(f"{share:>24.3f}" for share in shares))


if __name__ == "__main__":
    main()
