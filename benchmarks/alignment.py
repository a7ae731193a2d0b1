"""Does a short pretraining teach the network which voxels belong together?

    python benchmarks/alignment.py [--steps 300] [--side 48] [--balanced] [--out alignment]

Trains on the backend of KERAS_BACKEND, and measures the alignment of output features (mean cosine
of the same label across the two views, minus that of different labels) on held-out pairs before,
during and after. Each pair is its own control: what is printed is the mean rise and its standard
error. Writes `<out>/<backend>-<steps>.json`; `--picture FILE.png` draws all of that folder, and
trains nothing.
"""

import argparse
import json
import math
import time
from pathlib import Path

import keras
import numpy as np

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.contrastive import alignment
from anyvox_keras.training import warm_cosine

# Learns in hundreds of steps, where the published recipe (batch norm, temperature 0.33, 2e-4,
# 600,000 steps) would not: running statistics of single pairs settle slowly.
NETWORK = dict(width=8, levels=3, normalization="instance", epsilon=1e-2)
TAPS = ("decoder_2_1_conv", "output_conv")
RECIPE = dict(temperature=0.1, augmentation=None)
# Tens of steps need the labels to take turns: by uniform voxels, mostly of large regions, the
# alignment falls before it rises.
UNIFORM, BALANCED = dict(samples=512), dict(samples=1024, balanced=True)
RATE, WARM_UP, VOXELS = 2e-3, 20, 2048
# Runs of more steps have a panel of their own.
LONG = 1000


class Held(keras.callbacks.Callback):
    """Measure the alignment of each held-out pair every few steps."""

    def __init__(self, pretrainer, pairs: list[dict[str, np.ndarray]], every: int) -> None:
        super().__init__()
        self.pretrainer, self.pairs, self.every = pretrainer, pairs, every
        self.curve: dict[int, list[float]] = {0: self.measure()}

    def on_train_batch_end(self, batch: int, logs=None) -> None:
        if (batch + 1) % self.every == 0:
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()
            self.curve[batch + 1] = self.measure()
            print(f"step {batch + 1}: {np.mean(self.curve[batch + 1]):.4f}", flush=True)

    def measure(self) -> list[float]:
        """Alignment of each pair, at the same voxels every time."""
        rng = np.random.default_rng(0)
        return [self.of_pair(pair, rng) for pair in self.pairs]

    def of_pair(self, pair: dict[str, np.ndarray], rng: np.random.Generator) -> float:
        labels = pair["label_map"].ravel()
        chosen = rng.choice(labels.size, VOXELS, replace=False)
        features = [
            to_numpy(self.pretrainer.backbone.predict_on_batch(pair[view]))
            for view in ("view1", "view2")
        ]
        first, second = (f.reshape(1, labels.size, -1)[:, chosen] for f in features)
        return float(to_numpy(alignment(first, second, labels[None, chosen]))[0])


def train(options: argparse.Namespace) -> dict:
    """Train and return the curve with what made it."""
    bank = avx.TemplateBank.geometric(500, side=options.side, seed=options.seed)
    stream = avx.SyntheticStream(bank, options.side, seed=options.seed, steps=options.steps)
    pairs = list(stream.held_out(options.pairs).arrays(options.pairs))
    backbone = avx.UNet(**NETWORK, seed=options.seed)
    voxels = BALANCED if options.balanced else UNIFORM
    pretrainer = avx.ContrastivePretrainer(backbone, TAPS, **RECIPE, **voxels, seed=options.seed)
    rate = warm_cosine(RATE, options.steps, warmup=min(WARM_UP, options.steps // 5))
    pretrainer.compile(keras.optimizers.AdamW(rate, weight_decay=1e-5))
    held = Held(pretrainer, pairs, options.every)
    start = time.perf_counter()
    pretrainer.fit(stream, callbacks=[held], verbose=0)
    seconds = time.perf_counter() - start
    return {"backend": keras.backend.backend(), "seconds": seconds, "curve": held.curve}


def report(result: dict) -> None:
    """Print the paired rise in standard errors."""
    first, last = (np.asarray(result["curve"][step]) for step in (0, max(result["curve"])))
    rise = last - first
    error = rise.std(ddof=1) / math.sqrt(len(rise))
    print(
        f"{result['backend']}, {max(result['curve'])} steps, {len(rise)} held-out pairs: "
        f"alignment {first.mean():.4f} before, {last.mean():.4f} after, rise {rise.mean():.4f} "
        f"+- {error:.4f} ({rise.mean() / error:.1f} standard errors), {result['seconds']:.0f} s"
    )


def draw(folder: Path, picture: Path) -> None:
    """Draw every run's curve with two standard errors about it, short runs beside long ones."""
    from matplotlib import pyplot as plt

    from anyvox_keras.pictures import style

    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    panels = [[r for r in results if (_steps(r) > LONG) == long] for long in (False, True)]
    panels = [panel for panel in panels if panel]
    plt.rcParams.update(style())
    figure, row = plt.subplots(
        1, len(panels), figsize=(5 * len(panels), 3.4), layout="constrained", squeeze=False
    )
    for axes, panel in zip(row[0], panels, strict=True):
        for result in panel:
            steps = [int(step) for step in result["curve"]]
            pairs = np.asarray(list(result["curve"].values()))
            mean, error = pairs.mean(1), pairs.std(1, ddof=1) / math.sqrt(pairs.shape[1])
            (line,) = axes.plot(steps, mean, label=f"{result['backend']}, {_steps(result)} steps")
            axes.fill_between(
                steps, mean - 2 * error, mean + 2 * error, color=line.get_color(), alpha=0.2
            )
        axes.set(xlabel="step", ylabel="alignment on held-out pairs")
        axes.legend(loc="upper left")
    figure.savefig(picture, dpi=120)


def _steps(result: dict) -> int:
    return max(int(step) for step in result["curve"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--pairs", type=int, default=32, help="held-out pairs")
    parser.add_argument("--every", type=int, default=50, help="steps between measurements")
    parser.add_argument("--balanced", action="store_true", help="labels take turns")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("alignment"))
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    if options.picture is not None:
        draw(options.out, options.picture)
        return
    result = train(options)
    report(result)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{result['backend']}-{options.steps}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
