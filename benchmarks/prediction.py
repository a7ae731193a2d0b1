"""Prediction by windows: Dice by overlap, and time and memory beside MONAI's sliding window.

    KERAS_BACKEND=torch python benchmarks/prediction.py dice --results results [--overlaps 0,0.25]
    KERAS_BACKEND=torch python benchmarks/prediction.py speed [--side 256] [--window 96]

`dice` tests the trainings that few_shot.py left in --results at each overlap. `speed` gives one
random scan to the same network, weights, windows, overlap and precision twice, in processes of
their own: to `Predictor`, and, as the plain PyTorch module that `to_torch` makes of it, to MONAI's
`sliding_window_inference`. It prints seconds without the first window's, and peak memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from few_shot import test_cases

from anyvox_keras.metrics import dice
from anyvox_keras.segmentation import Predictor, Scaling, load_case, load_run

CLASSES = 4


def main() -> None:
    """Print a table."""
    options = _options()
    if options.what == "dice":
        _dice(options)
    elif options.only:
        print(json.dumps(_timed(options)))
    else:
        found = {name: _apart(name) for name in ("ours", "monai")}
        for name, figures in found.items():
            print(name, json.dumps(figures))
        ratios = {key: found["ours"][key] / found["monai"][key] for key in found["ours"]}
        print("ours / monai", {key: round(ratio, 2) for key, ratio in ratios.items()})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("dice", "speed"))
    parser.add_argument("--results", type=Path)
    parser.add_argument("--overlaps", default="0,0.125,0.25,0.5,0.7")
    parser.add_argument("--tests", type=int, default=4)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--window", type=int, default=96)
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--only", choices=("ours", "monai"))
    return parser.parse_args()


def _dice(options: argparse.Namespace) -> None:
    overlaps = [float(text) for text in options.overlaps.split(",")]
    print(f"| training | {' | '.join(f'{overlap:g}' for overlap in overlaps)} |")
    print(f"|---|{'---|' * len(overlaps)}")
    for path in sorted(options.results.glob("*/row.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        if row["method"] == "monai":
            continue
        model, s = load_run(path.parent)
        scaled = Scaling(s.scaling, s.window)
        files = test_cases(row["set"])[: options.tests]
        cases = [load_case(one, s.spacing_mm, scaled) for one in files]
        cells = []
        for overlap in overlaps:
            predictor = Predictor(model, s.crop, overlap=overlap)
            begin = time.perf_counter()
            labels = range(1, model.classes + 1)
            found = [list(dice(predictor.label_map(case.image), case.label_map, labels).values())
                     for case in cases]  # fmt: skip
            seconds = time.perf_counter() - begin
            cells.append(f"{np.nanmean(np.asarray(found, 'float64')):.4f}, {seconds:.1f} s")
        print(f"| {path.parent.name} | {' | '.join(cells)} |", flush=True)


def _apart(name: str) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, *sys.argv, "--only", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _timed(options: argparse.Namespace) -> dict[str, float]:
    import anyvox_keras as avx

    policy = options.precision if options.precision == "float32" else f"mixed_{options.precision}"
    segmenter = avx.Segmenter(avx.UNet(seed=0, dtype=policy), CLASSES, dtype=policy)
    image = np.random.default_rng(0).random((options.side,) * 3, "float32")
    window = (options.window,) * 3
    predict = _ours if options.only == "ours" else _monai
    labels = predict(segmenter, window, options)
    labels(image[tuple(slice(n) for n in window)])
    begin = time.perf_counter()
    labels(image)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return {"seconds": round(seconds, 1), "peak_gib": round(peak, 2)}


def _ours(segmenter: Any, window: tuple[int, ...], options: argparse.Namespace) -> Any:
    return Predictor(segmenter, window, overlap=options.overlap).label_map


def _monai(segmenter: Any, window: tuple[int, ...], options: argparse.Namespace) -> Any:
    import torch
    from monai.inferers import sliding_window_inference

    net = segmenter.to_torch().eval()
    half = options.precision == "bfloat16"

    def labels(image: np.ndarray) -> np.ndarray:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = sliding_window_inference(
                torch.from_numpy(image)[None, None], window, 1, net, options.overlap,
                mode="gaussian", sigma_scale=0.25,
            )  # fmt: skip
        return logits.argmax(1)[0].numpy()

    return labels


if __name__ == "__main__":
    main()
