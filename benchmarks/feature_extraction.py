"""Seconds and peak memory of a volume's features, beside the authors' code with the same weights.

    KERAS_BACKEND=torch python benchmarks/feature_extraction.py --authors ANATOMIX [--side 128]
        [--rounds 3] [--window 64] [--ways whole,windows,bfloat16] [--threads 2]

ANATOMIX is a checkout of https://github.com/neel-dey/anatomix at any place; nothing of it is needed
otherwise. Every measurement is a process of its own, the two codes take turns, and the ratio is
that of the medians. The network is a UNet of the base architecture with random weights; the
difference is the largest of all features, over their largest value. Where others use the machine,
processor seconds, of all cores together, are the fairer figure. Peak memory is the process's, less
what it held once the network was made. Windows overlap by half: in the authors' code by MONAI's
`sliding_window_inference` with their Gaussian weights.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

OVERLAP, SIGMA = 0.5, 0.25
MEASURED = ("seconds", "processor seconds", "GB")
#: what is compared: the way of each row, ours and the authors'
ROWS = {
    "whole": ("whole", "whole"),
    "windows": ("windows", "windows"),
    "bfloat16": ("bfloat16", "whole"),
}


def main() -> None:
    """Measure both codes in turn and print a table."""
    options = _options()
    if options.child:
        print(json.dumps(_measure(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.folder = folder
        _prepare(options)
        heads = "".join(f"{name:>18}{'ratio':>7}" for name in MEASURED)
        print(f"{'':10}{heads}{'apart':>9}")
        for row in options.ways.split(","):
            _print_row(row, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--authors", type=Path, required=True, help="their checkout")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--ways", default=",".join(ROWS))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--child", choices=("ours", "authors"), help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _prepare(options: argparse.Namespace) -> None:
    """Write the weights and the volume that both codes read."""
    import anyvox_keras as avx
    from anyvox_keras.networks.convert import to_torch

    folder = Path(options.folder)
    unet = avx.UNet(seed=0)
    unet.save_to_preset(folder / "preset")
    to_torch(unet, folder / "network.pth")
    volume = np.random.default_rng(0).random((options.side,) * 3, dtype="float32")
    np.save(folder / "volume.npy", volume)


def _print_row(row: str, options: argparse.Namespace) -> None:
    ours, theirs = ROWS[row]
    found: dict[str, list[Any]] = {"ours": [], "authors": []}
    for _ in range(options.rounds):
        for code, way in (("ours", ours), ("authors", theirs)):
            found[code].append(_run(code, way, options))
    measured = ([median(one[name] for one in found[code]) for code in found] for name in MEASURED)
    features = [np.load(options.folder + f"/{code}.npy") for code in found]
    apart = np.abs(features[0] - features[1]).max() / np.abs(features[1]).max()
    cells = [f"{f'{a:.1f} : {b:.1f}':>18}{a / b:7.2f}" for a, b in measured]
    print(f"{row:10}{''.join(cells)}{apart:9.1e}", flush=True)


def _run(code: str, way: str, options: argparse.Namespace) -> dict[str, float]:
    words = [f"--{name}={getattr(options, name)}" for name in ("authors", "side", "window",
             "threads", "folder")]  # fmt: skip
    command = [sys.executable, __file__, *words, f"--child={code}", f"--way={way}"]
    # Idle threads that spin would count as work.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{code}, {way}: {ran.stderr[-800:]}")
    result: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return result


def _measure(options: argparse.Namespace) -> dict[str, float]:
    """Compute the features once, on a small volume before, and say what that took."""
    import torch

    from anyvox_keras.backend import peak_memory_mb

    torch.set_num_threads(options.threads)
    volume = np.load(options.folder / "volume.npy")
    extract = {"ours": _ours, "authors": _authors}[options.child](options)
    before = peak_memory_mb()
    extract(volume[: options.window, : options.window, : options.window])
    began, worked = time.perf_counter(), time.process_time()
    features = extract(volume)
    taken = (time.perf_counter() - began, time.process_time() - worked)
    figures = dict(zip(MEASURED, (*taken, (peak_memory_mb() - before) / 1024), strict=True))
    np.save(options.folder / f"{options.child}.npy", features)
    return figures


def _ours(options: argparse.Namespace) -> Any:
    import keras

    import anyvox_keras as avx

    if options.way == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    windows = {"window": options.window, "overlap": OVERLAP, "sigma": SIGMA}
    own = windows if options.way == "windows" else {}
    return avx.FeatureExtractor.from_preset(options.folder / "preset", norm="none", **own)


def _authors(options: argparse.Namespace) -> Any:
    """Do what `extract_features` of their code does, on the processor."""
    import torch
    from monai.inferers import sliding_window_inference

    sys.path.insert(0, str(options.authors))
    from anatomix.model.network import Unet

    network = Unet(dimension=3, input_nc=1, output_nc=16, num_downs=4, ngf=16)
    network.load_state_dict(torch.load(options.folder / "network.pth", weights_only=True))
    network.eval()

    def extract(volume: np.ndarray) -> np.ndarray:
        scaled = (volume - volume.min()) / (volume.max() - volume.min())
        batch = torch.from_numpy(scaled)[None, None]
        with torch.no_grad():
            if options.way == "whole":
                features = network(batch)
            else:
                features = sliding_window_inference(
                    batch, (options.window,) * 3, 1, network, overlap=OVERLAP, mode="gaussian",
                    sigma_scale=SIGMA,
                )  # fmt: skip
        return features[0].movedim(0, -1).numpy()

    return extract


if __name__ == "__main__":
    main()
