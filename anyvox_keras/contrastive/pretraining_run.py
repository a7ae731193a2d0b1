"""A pretraining run in a folder, and pictures of what it has learnt so far."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from anyvox_keras.backend import peers
from anyvox_keras.contrastive.contrastive_pretrainer import ContrastivePretrainer
from anyvox_keras.contrastive.recipes import RECIPES, recipe
from anyvox_keras.contrastive.run_settings import RunSettings
from anyvox_keras.errors import UserError, one_line
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.networks import ARCHITECTURES, VIT, UNet, ViT, load_network
from anyvox_keras.networks.any_network import fixed_sides
from anyvox_keras.pictures import feature_picture, save_figure
from anyvox_keras.synthesis import SyntheticStream
from anyvox_keras.templates import open_banks
from anyvox_keras.training.checkpoint import Checkpoint, sync_state
from anyvox_keras.training.schedules import stepped_decay, warm_cosine
from anyvox_keras.training.training_run import TrainingRun


class FeaturePictures(keras.callbacks.Callback):
    """Every k steps, draw the features of one pair of views in the colours of a joint PCA.

    Args:
        pair: `{"view1", "view2": (1, D, H, W, 1)}` arrays, the same at each picture.
        folder: Where `features_<step>.png` go.
        every: Steps between pictures.
        first: Steps done before this `fit`.

    Example:
        ```python
        pair = {name: np.zeros((1, 16, 16, 16, 1)) for name in ("view1", "view2")}
        pictures = FeaturePictures(pair, "pictures", every=500)
        # pretrainer.fit(stream, callbacks=[pictures])
        ```
    """

    def __init__(
        self,
        pair: dict[str, np.ndarray],
        folder: str | os.PathLike[str],
        every: int,
        first: int = 0,
    ) -> None:
        super().__init__()
        self.views = [pair[name][:1] for name in ("view1", "view2")]
        self.folder = Path(folder)
        self.every = every
        self.step = first

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Count, and draw when it is time."""
        self.step += 1
        if self.step % self.every == 0:
            self.draw(self.folder / f"features_{self.step:07d}.png")

    def draw(self, path: Path) -> None:
        """Draw the picture now."""
        sync_state(self.model)
        # Views may be larger than what the network takes.
        extractor = FeatureExtractor(self.model.backbone, rescale=False, overlap=0.5)
        images = [view[0, ..., 0] for view in self.views]
        features = [extractor(image) for image in images]
        path.parent.mkdir(parents=True, exist_ok=True)
        figure = feature_picture(images, features)
        save_figure(figure, path, overwrite=True)


class PretrainingRun(TrainingRun):
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

    settings: RunSettings
    settings_class = RunSettings

    def streams(self) -> tuple[SyntheticStream, SyntheticStream | None]:
        """Make the endless training stream and the fixed validation set."""
        s = self.settings
        bank = open_banks(s.templates, s.shapes, s.side, s.seed, voxel_mm=s.voxel_mm)
        common: dict[str, Any] = dict(side=s.side, batch_size=s.batch_size, seed=s.seed)
        training = SyntheticStream(bank, steps=s.steps, **common)
        if not s.validation_pairs:
            return training, None
        count = -(-s.validation_pairs // s.batch_size)
        held_out = SyntheticStream(bank, steps=count, split="validation", fixed=True, **common)
        return training, held_out

    def model(self) -> ContrastivePretrainer:
        """Make the network, the heads and the optimizer, compiled."""
        s = self.settings
        model = ContrastivePretrainer(
            starting_backbone(s, self.policy),
            taps=s.taps,
            tap_weights=s.tap_weights,
            samples=s.samples,
            voxel_weight=s.voxel_weight,
            balanced=s.balanced,
            temperature=s.temperature,
            rarity=s.rarity,
            balance=s.balance,
            recipe=s.recipe,
            crop=s.crop,
            cubes=s.cubes,
            augmentation=self._augmentation(),
            seed=s.seed,
            dtype=self.policy,
        )
        self.compile(model)
        return model

    def compile(self, model: Any) -> None:
        """Configure training by the recipe's optimizer."""
        own = self._options()
        model.compile(recipe(self.settings.recipe).optimizer(learning_rate=self.rate(), **own))

    def _augmentation(self) -> keras.layers.Layer | str | None:
        chosen = self.settings.augmentation
        return {"recipe": "recipe", "on": RECIPES["released"].augmentation(), "off": None}[chosen]

    def rate(self) -> Any:
        """Learning rate by the settings' schedule."""
        s = self.settings
        if s.schedule == "stepped":
            return stepped_decay(s.learning_rate, s.steps)
        if s.schedule == "cosine":
            return warm_cosine(s.learning_rate, s.steps, min(s.warmup, s.steps // 10))
        return s.learning_rate

    def _options(self) -> dict[str, Any]:
        s = self.settings
        options: dict[str, Any] = {}
        if s.clip_norm is not None:
            options["global_clipnorm"] = s.clip_norm
        if s.accumulate > 1:
            options["gradient_accumulation_steps"] = s.accumulate
        if s.ema is not None:
            options |= {"use_ema": True, "ema_momentum": s.ema}
        return options

    def describe(self, model: Any, stream: Any) -> str:
        """Name the network and its taps, and lay out what is drawn on the way to it."""
        backbone, kind = model.backbone, type(model.backbone).__name__
        names = ("width", "levels", "output_channels", "normalization", "pooling", "upsampling")
        sizes = [f", {n} {getattr(backbone, n)}" for n in names if hasattr(backbone, n)]
        lines = [f"network: {kind}, {backbone.count_params():,} parameters{''.join(sizes)}"]
        lines.append(f"taps: {', '.join(model.taps)}; heads of {model.width}")
        lines.append(stream.describe())
        if model.augmentation is not None:
            lines.append(model.augmentation.describe())
        if model.crop:
            number = "a cube" if model.cubes == 1 else f"{model.cubes} cubes"
            lines.append(f"of each view {number} of {model.crop}^3 voxels, each at its own place")
        return "\n".join(lines)

    @property
    def pairs_per_step(self) -> int:
        """Pairs of cubes, or of whole views, that a step trains on."""
        return self.settings.batch_size * self.settings.cubes

    def columns(self, model: Any) -> list[str]:
        """Name what the log holds beside the loss."""
        return ["alignment", *(f"loss_{tap}" for tap in model.taps)]

    def extras(self, checkpoint: Checkpoint, validation: Any) -> list[Any]:
        """Draw pictures and write TensorBoard files, where asked for."""
        extras: list[Any] = []
        if peers()[0]:
            return extras
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


def starting_backbone(settings: RunSettings, policy: Any) -> keras.Model:
    """Load or build the network that settings name.

    Args:
        settings: Their `weights`, `backbone` or `architecture` with its sizes.
        policy: Dtype policy of what is built here or is of a class of the package; what else is
            loaded or made by a user's function keeps its own.

    Raises:
        UserError: If there is no such network, or it takes other volumes than the run's cubes.
    """
    s = settings
    if s.weights is not None:
        backbone = load_network(s.weights, policy)
    elif s.backbone is not None:
        keras.utils.set_random_seed(s.seed)  # of initializers that have no seed of their own
        backbone = _called(s.backbone)
    else:
        backbone = _built_in(s, policy)
    cube, wanted = (s.crop or s.side,) * 3, fixed_sides(backbone)
    if wanted and cube != wanted:
        name = "side" if s.crop is None else "crop"
        raise UserError(f"{name}: expected the network's, {wanted}, received {cube[0]}")
    return backbone


def _built_in(s: RunSettings, policy: Any) -> keras.Model:
    given = dict(width=s.width, levels=s.levels, output_channels=s.output_channels)
    sizes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if s.architecture == VIT:
        return ViT(side=s.crop or s.side, **sizes, seed=s.seed, dtype=policy)
    return UNet(**{**ARCHITECTURES[s.architecture], **sizes}, seed=s.seed, dtype=policy)


def _called(place: str) -> keras.Model:
    """Call `MODULE:FUNCTION`, of an installed module or of one in the working folder."""
    module, _, name = place.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        backbone = getattr(importlib.import_module(module), name)()
    # a user's module raises whatever it likes
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)[:160]}"
        raise UserError(f"backbone: {place} cannot be called ({reason})") from error
    finally:
        sys.path.remove(os.getcwd())
    if not isinstance(backbone, keras.Model):
        kind = type(backbone).__name__
        raise UserError(f"backbone: expected {place} to return a Keras model, received {kind}")
    return backbone
