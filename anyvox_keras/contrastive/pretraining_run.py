"""A pretraining in a folder: begun, watched, killed, resumed."""

import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from anyvox_keras._errors import UserError
from anyvox_keras.contrastive.checkpoint import STATE, Checkpoint, averaged
from anyvox_keras.contrastive.contrastive_pretrainer import ContrastivePretrainer
from anyvox_keras.contrastive.feature_pictures import FeaturePictures, sync_state
from anyvox_keras.contrastive.recipes import RECIPES, recipe
from anyvox_keras.contrastive.run_log import RunLog
from anyvox_keras.contrastive.run_settings import RunSettings, read_toml
from anyvox_keras.contrastive.schedules import stepped_decay, warm_cosine
from anyvox_keras.contrastive.stop_on_non_finite import StopOnNonFinite
from anyvox_keras.contrastive.training_state import read_facts
from anyvox_keras.io import atomic
from anyvox_keras.networks import ARCHITECTURES, UNet
from anyvox_keras.synthesis import SyntheticStream
from anyvox_keras.templates import TemplateBank

CONFIG, LOG = "config.toml", "log.csv"
Report = Callable[[dict[str, Any]], None]


class PretrainingRun:
    """Pretrain by settings into a folder that a killed run goes on from.

    Files: `config.toml`, `log.csv`, `last.weights.h5`, `best.weights.h5` (lowest validation loss),
    `state`, `backbone/` (a preset), and pictures or TensorBoard files where asked for. After a kill
    at any step, `train` ends with the same weights as an unbroken run (bit for bit on a CPU), also
    under another backend to rounding.

    Args:
        folder: The run's folder.
        settings: What to train; a folder that holds a run must have been begun with the same.

    Raises:
        UserError: If the folder's run has other settings.

    Example:
        ```python
        run = PretrainingRun("run", RunSettings(side=48, steps=300))
        print(run.step, run.finished)  # `run.train()` goes on from there to the end
        ```
    """

    def __init__(self, folder: str | os.PathLike[str], settings: RunSettings) -> None:
        self.folder = Path(folder)
        self.settings = settings
        config = self.folder / CONFIG
        if config.exists() and RunSettings.from_dict(read_toml(config), str(config)) != settings:
            raise UserError(f"{folder}: the run was begun with other settings, see {config}")

    @property
    def step(self) -> int:
        """Steps done, as the last checkpoint knows."""
        state = self.folder / STATE
        return int(read_facts(state)["step"]) if state.exists() else 0

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        state = self.folder / STATE
        return state.exists() and (
            self.step >= self.settings.steps or bool(read_facts(state)["stopped"])
        )

    def train(
        self,
        report: Report | None = None,
        verbose: int = 0,
        introduce: Callable[[str], Any] | None = None,
    ) -> keras.Model | None:
        """Train to the end, from the last checkpoint if there is one.

        Args:
            report: Called with each row of the log.
            verbose: Of `fit`: 1 shows Keras's progress bar.
            introduce: Called with a description of the network and the pipeline, once they exist.

        Returns:
            The trained pretrainer; None if the run was finished before.
        """
        if self.finished:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in self.folder.glob(".????????-*"):
            stale.unlink()
        with atomic(self.folder / CONFIG) as temporary:
            temporary.write_text(self.settings.to_toml())
        stream, validation = self.streams()
        pretrainer = self.pretrainer()
        if introduce is not None:
            introduce(_description(pretrainer, stream))
        pretrainer.bind(stream)
        checkpoint = Checkpoint(self.folder, stream)
        checkpoint.restore(pretrainer)
        stream.steps = self.settings.steps - checkpoint.step
        progress = _Progress(self, checkpoint, validation, report)
        callbacks = [StopOnNonFinite(stream), *self._extras(checkpoint, validation), progress]
        pretrainer.fit(stream, callbacks=callbacks, verbose=verbose)
        return pretrainer

    def streams(self) -> tuple[SyntheticStream, SyntheticStream | None]:
        """Make the endless training stream and the fixed validation set."""
        s = self.settings
        if s.templates == "geometric":
            bank = TemplateBank.geometric(s.shapes, s.side, s.seed)
        else:
            bank = TemplateBank.from_segmentations(s.templates, s.side, resample=True)
        common: dict[str, Any] = dict(side=s.side, batch_size=s.batch_size, seed=s.seed)
        training = SyntheticStream(bank, steps=s.steps, **common)
        if not s.validation_pairs:
            return training, None
        count = -(-s.validation_pairs // s.batch_size)
        held_out = SyntheticStream(bank, steps=count, split="validation", fixed=True, **common)
        return training, held_out

    def pretrainer(self) -> ContrastivePretrainer:
        """Make the network, the heads and the optimizer, compiled."""
        s = self.settings
        policy = "float32" if s.precision == "float32" else f"mixed_{s.precision}"
        model = ContrastivePretrainer(
            self._backbone(policy),
            taps=s.taps.split(",") if s.taps else None,
            tap_weights=s.numbers("tap_weights") or None,
            samples=s.samples,
            balanced=s.balanced,
            temperature=s.temperature,
            rarity=s.rarity or None,
            balance=s.balance or None,
            recipe=s.recipe,
            augmentation=self._augmentation(),
            seed=s.seed,
            dtype=policy,
        )
        model.compile(recipe(s.recipe).optimizer(learning_rate=self._rate(), **self._options()))
        return model

    def _backbone(self, policy: str) -> UNet:
        s = self.settings
        given = dict(width=s.width, levels=s.levels, output_channels=s.output_channels)
        sizes = {name: value for name, value in given.items() if value}
        if s.architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise UserError(f"architecture: expected one of {known}, received {s.architecture}")
        if not s.weights:
            return UNet(**{**ARCHITECTURES[s.architecture], **sizes}, seed=s.seed, dtype=policy)
        if sizes:
            raise UserError(
                f"{', '.join(sizes)}: expected none beside weights, whose sizes are their own"
            )
        return UNet.from_preset(s.weights, dtype=policy)

    def _augmentation(self) -> keras.layers.Layer | str | None:
        chosen = self.settings.augmentation
        return {"recipe": "recipe", "on": RECIPES["released"].augmentation(), "off": None}[chosen]

    def _rate(self) -> Any:
        s = self.settings
        if s.schedule == "stepped":
            return stepped_decay(s.learning_rate, s.steps)
        if s.schedule == "cosine":
            return warm_cosine(s.learning_rate, s.steps, min(s.warmup, s.steps // 10))
        return s.learning_rate

    def _options(self) -> dict[str, Any]:
        s = self.settings
        options: dict[str, Any] = {}
        if s.clip_norm:
            options["clipnorm"] = s.clip_norm
        if s.accumulate > 1:
            options["gradient_accumulation_steps"] = s.accumulate
        if s.ema:
            options |= {"use_ema": True, "ema_momentum": s.ema}
        return options

    def _extras(self, checkpoint: Checkpoint, validation: SyntheticStream | None) -> list[Any]:
        extras: list[Any] = []
        if self.settings.pictures_every and validation is not None:
            folder, every = self.folder / "pictures", self.settings.pictures_every
            pair = next(validation.arrays())
            extras.append(FeaturePictures(pair, folder, every, checkpoint.step))
        if self.settings.tensorboard:
            _require_tensorboard()
            extras.append(keras.callbacks.TensorBoard(self.folder / "tensorboard", update_freq=10))
        return extras


def _require_tensorboard() -> None:
    # Keras writes these files by TensorFlow, whatever the backend.
    for package in ("tensorflow", "tensorboard"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"tensorboard: needs the package {package}: pip install {package}")


def _description(pretrainer: ContrastivePretrainer, stream: SyntheticStream) -> str:
    """Name the network and its taps, and lay out what is drawn on the way to it."""
    own = pretrainer.backbone.get_config()
    names = ("width", "levels", "output_channels", "normalization", "pooling", "upsampling")
    sizes = ", ".join(f"{name} {own[name]}" for name in names)
    parameters = pretrainer.backbone.count_params()
    lines = [f"network: UNet, {parameters:,} parameters, {sizes}"]
    lines.append(f"taps: {', '.join(pretrainer.taps)}; heads of {pretrainer.width}")
    lines.append(stream.layer.views.appearance.describe())
    if pretrainer.augmentation is not None:
        lines.append(pretrainer.augmentation.describe())
    return "\n".join(lines)


class _Progress(keras.callbacks.Callback):
    """Rows of the log, validations, checkpoints and the end, in this order at each step."""

    def __init__(
        self,
        run: PretrainingRun,
        checkpoint: Checkpoint,
        validation: SyntheticStream | None,
        report: Report | None,
    ) -> None:
        super().__init__()
        self.settings = run.settings
        self.checkpoint = checkpoint
        self.validation = validation
        self.report = report
        self.log = RunLog(run.folder / LOG, [])
        self._since = (time.monotonic(), checkpoint.step)

    def set_model(self, model: keras.Model) -> None:
        """Name the log's columns after the model's metrics."""
        super().set_model(model)
        self.checkpoint.set_model(model)
        names = ["loss", "alignment", *(f"loss_{tap}" for tap in model.taps)]
        shown = [*names, *(f"val_{name}" for name in names)]
        fixed = ["step", "pairs", "learning_rate", "pairs_per_second"]
        self.log.columns = [*fixed, *shown]
        self.log.rewind(self.checkpoint.step)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Restore the metrics' sums at the first step."""
        self.checkpoint.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Do what this step asks for."""
        self.checkpoint.step += 1
        step, done = self.checkpoint.step, self.checkpoint.step >= self.settings.steps
        if logs is not None:
            # Shown by Keras's bar, which reads the same dict after this callback.
            logs["pairs_per_second"] = self._pairs_per_second()
        if step % self.settings.log_every == 0 or done:
            self._write_row(step, dict(logs or {}), done)
        if done or self.checkpoint.stopped:
            self.model.stop_training = True
            self.checkpoint.save()
        elif self.checkpoint.due():
            self.checkpoint.save()

    def _write_row(self, step: int, logs: dict[str, Any], done: bool) -> None:
        facts = {"step": step, "pairs": step * self.settings.batch_size}
        row = {**facts, "learning_rate": float(self.model.optimizer.learning_rate), **logs}
        sync_state(self.model)
        if step % self.settings.validate_every == 0 or done:
            row |= self._validate()
            self._judge(float(row.get("val_loss", row["loss"])))
        self.model.reset_metrics()
        self.log.append(row)
        if self.report is not None:
            self.report(row)
        self._since = (time.monotonic(), step)

    def _pairs_per_second(self) -> float:
        then, before = self._since
        pairs = (self.checkpoint.step - before) * self.settings.batch_size
        return round(pairs / max(time.monotonic() - then, 1e-9), 3)

    def _validate(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        with averaged(self.model):
            results = self.model.evaluate(self.validation, verbose=0, return_dict=True)
        return {f"val_{name}": float(value) for name, value in results.items()}

    def _judge(self, loss: float) -> None:
        patience = self.settings.patience
        improved = self.checkpoint.improve(loss)
        self.checkpoint.stopped = not improved and 0 < patience <= self.checkpoint.waited
