"""`anyvox demo`."""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from anyvox_keras import io, pictures
from anyvox_keras.cli._options import PROGRESS
from anyvox_keras.progress import note, tell
from anyvox_keras.types import FeatureKind

SIDE, SHAPES, HELD_OUT = 32, 200, 8
# Small enough for minutes on two cores. Instance normalisation, since running statistics of
# single pairs have not settled after a few hundred steps.
NETWORK: dict[str, Any] = {"width": 8, "levels": 3, "normalization": "instance", "epsilon": 1e-2}
TAPS, TEMPERATURE, RATE = ("decoder_2_1_conv", "output_conv"), 0.1, 2e-3
FEATURES: tuple[FeatureKind, ...] = ("mind", "network", "both")
RESOLUTION = 2


@click.command()
@click.option("--out", default="demo", show_default=True, type=Path, help="Where results go.")
@click.option("--steps", default=200, show_default=True, type=click.IntRange(20), help="Of fit.")
@click.option("--seed", default=0, help="Seed of shapes, volumes and weights.")
@PROGRESS
def demo(out: Path, steps: int, seed: int) -> None:
    """Pretrain a small network for a minute; register a real pair by the packaged one; draw both.

    Writes views.png, features.png, report.png, report.html and metrics.json; those of an earlier
    demo in the same folder are replaced.
    """
    note(f"{out}: {steps} steps of pretraining, then a real head registered in three ways")
    tell("loading")
    from anyvox_keras.extras import load_extra

    load_extra("nilearn", "the demo's head")  # before the work that it is the end of
    io.prepare_folder(out)
    results = _Results()
    with results.stages("pretrain"):
        _pretrain(steps, seed, out, results)
    with results.stages("pair"):
        tell("pair")
        from anyvox_keras.cli._demo_pair import make_demo_pair

        pair = make_demo_pair(RESOLUTION)
    with results.stages("features"):
        tell("features")
        _draw_features(pair, out)
    _register(pair, out, results)
    results.save(out)
    results.show(out)


class _Stages:
    """Measures named stages of a process.

    Attributes:
        seconds: Wall time of each stage, s.
        peak_memory_mb: Largest resident memory during each stage, MB (2^20 bytes).
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_memory_mb: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measure one stage."""
        from anyvox_keras.backend import peak_memory_mb

        _forget_peak()
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)
        self.peak_memory_mb[name] = round(peak_memory_mb())


def _forget_peak() -> None:
    """Set Linux's high-water mark back to now, which the lifetime peak cannot do."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


@dataclass
class _Results:
    """What `metrics.json` holds."""

    stages: _Stages = field(default_factory=_Stages)
    held_out: dict[str, np.ndarray] = field(default_factory=dict)
    tre_mm: dict[str, float] = field(default_factory=dict)
    dice: dict[str, dict[str, float]] = field(default_factory=dict)
    folds_percent: float = math.nan

    def save(self, out: Path) -> None:
        """Write `metrics.json`."""
        import keras

        metrics = {
            "backend": keras.backend.backend(),
            "loss": {when: float(losses.mean()) for when, losses in self.held_out.items()},
            "tre_mm": self.tre_mm,
            "dice": self.dice,
            "folds_percent": self.folds_percent,
            "seconds": self.stages.seconds,
            "peak_memory_mb": self.stages.peak_memory_mb,
        }
        io.save_json(out / "metrics.json", metrics, overwrite=True)

    def show(self, out: Path) -> None:
        """Print the same for people."""
        from rich.console import Console
        from rich.table import Table

        table = Table("measure", "before", "after", title=f"results in {out}")
        drop = self.held_out["first"] - self.held_out["last"]
        error = drop.std(ddof=1) / math.sqrt(len(drop))
        table.add_row(
            f"loss on {len(drop)} held-out pairs",
            f"{self.held_out['first'].mean():.3f}",
            f"{self.held_out['last'].mean():.3f} (drop {drop.mean() / error:.1f} standard errors)",
        )
        for kind in FEATURES:
            before, after = self.tre_mm["before"], self.tre_mm[kind]
            table.add_row(f"registration error, {kind} (mm)", f"{before:.2f}", f"{after:.2f}")
        for name, dice in self.dice.items():
            table.add_row(f"Dice, {name}", f"{dice['before']:.3f}", f"{dice['after']:.3f}")
        table.add_row("folded voxels (%)", "", f"{self.folds_percent:.4f}")
        for name, seconds in self.stages.seconds.items():
            table.add_row(name, "", f"{seconds:.0f} s, {self.stages.peak_memory_mb[name]:.0f} MB")
        Console().print(table)


def _pretrain(steps: int, seed: int, out: Path, results: _Results) -> None:
    """Train a small UNet on the endless stream and draw some of what it saw."""
    import keras

    from anyvox_keras.contrastive import ContrastivePretrainer
    from anyvox_keras.networks import UNet
    from anyvox_keras.synthesis import SyntheticStream
    from anyvox_keras.templates import TemplateBank
    from anyvox_keras.training import warm_cosine

    tell("pretraining", "shapes, and pairs held out")
    bank = TemplateBank.geometric(SHAPES, SIDE, seed)
    stream = SyntheticStream(bank, side=SIDE, seed=seed, steps=steps)
    pairs = list(stream.held_out(HELD_OUT).arrays(HELD_OUT))
    joined = {name: np.concatenate([pair[name] for pair in pairs]) for name in pairs[0]}
    figure = pictures.views_picture(joined["label_map"], joined["view1"], joined["view2"])
    pictures.save_figure(figure, out / "views.png", overwrite=True)

    backbone = UNet(**NETWORK, seed=seed)
    # Without the recipe's augmentation, which pays off in runs longer than minutes.
    pretrainer = ContrastivePretrainer(
        backbone, TAPS, temperature=TEMPERATURE, augmentation=None, seed=seed
    )
    rate = warm_cosine(RATE, steps, warmup=steps // 20)
    pretrainer.compile(keras.optimizers.AdamW(rate, weight_decay=1e-5))
    results.held_out["first"] = _losses(pretrainer, pairs)
    steps_told = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda step, logs=None: tell(
            "pretraining", f"step {step + 1} of {steps}", step / steps
        )
    )
    pretrainer.fit(stream, epochs=1, verbose=0, callbacks=[steps_told])
    results.held_out["last"] = _losses(pretrainer, pairs)
    backbone.save_to_preset(out / "backbone")


def _losses(pretrainer: Any, pairs: list[dict[str, np.ndarray]]) -> np.ndarray:
    return np.asarray([pretrainer.test_on_batch(pair, return_dict=True)["loss"] for pair in pairs])


def _draw_features(pair: Any, out: Path) -> None:
    from anyvox_keras.features import FeatureExtractor

    extractor = FeatureExtractor.from_preset()
    images = [pair.fixed.array, pair.moving.array]
    masks = [pair.fixed_labels.array > 0, pair.moving_labels.array > 0]
    figure = pictures.feature_picture(
        images,
        [extractor(image) for image in images],
        pair.fixed.grid,
        [pair.fixed.name, pair.moving.name],
        masks,
    )
    pictures.save_figure(figure, out / "features.png", overwrite=True)


def _register(pair: Any, out: Path, results: _Results) -> None:
    """Register with each kind of features; the report is of both together."""
    from anyvox_keras.registration import register

    results.tre_mm["before"] = pair.error_mm()
    for name in FEATURES:
        note(f"registration by features: {name}")
        with results.stages(f"register_{name}"):
            registration = register(
                pair.fixed.image,
                pair.moving.image,
                features=name,
                fixed_seg=pair.fixed_labels.image,
                moving_seg=pair.moving_labels.image,
            )
        results.tre_mm[name] = pair.error_mm(registration.displacement)
    labels = {"gm": "1", "wm": "2"}
    found = registration.metrics
    results.dice = {name: found["dice"][label] for name, label in labels.items()}
    results.folds_percent = found["folds_percent"]
    registration.save(out, names={1: "grey matter", 2: "white matter"}, overwrite=True)
