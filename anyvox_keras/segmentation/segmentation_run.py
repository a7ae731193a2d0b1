"""A few-shot training in a folder."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from anyvox_keras.errors import UserError
from anyvox_keras.io import save_json
from anyvox_keras.networks import ARCHITECTURES, UNet, preset_metadata
from anyvox_keras.segmentation.crops import CropStream, SegmentationAugmentation
from anyvox_keras.segmentation.dataset import Case, Dataset, count_classes, load_case, read_dataset
from anyvox_keras.segmentation.dice import DiceCrossEntropy
from anyvox_keras.segmentation.evaluate import validate
from anyvox_keras.segmentation.fine_tuning import LayerRates
from anyvox_keras.segmentation.predictor import Predictor
from anyvox_keras.segmentation.segmentation_settings import SegmentationSettings
from anyvox_keras.segmentation.segmenter import Segmenter
from anyvox_keras.training.checkpoint import BEST, LAST
from anyvox_keras.training.schedules import EpochCosine
from anyvox_keras.training.training_run import TrainingRun
from anyvox_keras.types import Part

CLASSES = "classes.json"


class SegmentationRun(TrainingRun):
    """Train a `Segmenter` by settings into a folder that a killed run goes on from.

    Files: `config.toml`, `classes.json`, `log.csv`, `last.weights.h5`, `best.weights.h5` (lowest
    mean soft Dice loss of the validation cases, whole, by sliding windows), `state`, and the
    fine-tuned `backbone/`, a preset. After a kill, `train` ends with the same weights as an
    unbroken run (bit for bit on a CPU).

    Args:
        folder: The run's folder.
        settings: What to train; a folder that holds a run must have been begun with the same.
        dataset: The cases; None reads `settings.data`.
        overwrite: Whether a run that exists is removed when this one begins.

    Raises:
        UserError: If the folder's run has other settings; from `train`, if the data can't be used.

    Example:
        ```python
        from anyvox_keras.segmentation import SegmentationRun, SegmentationSettings

        run = SegmentationRun("run", SegmentationSettings(data="hippocampus", side=48, steps=300))
        print(run.step, run.finished)  # `run.train()` goes on from there to the end
        ```
    """

    settings: SegmentationSettings
    settings_class = SegmentationSettings

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: SegmentationSettings,
        dataset: Dataset | None = None,
        overwrite: bool = False,
    ) -> None:
        super().__init__(folder, settings, overwrite)
        self._dataset = dataset

    @cached_property
    def dataset(self) -> Dataset:
        """The files, of the chosen training cases."""
        whole = self._dataset or read_dataset(self.settings.require("data"))
        chosen = self.settings.cases or ()
        if absent := sorted(set(chosen) - {case.name for case in whole.training}):
            raise UserError(f"cases: expected names of training cases, received {absent[0]}")
        training = [case for case in whole.training if not chosen or case.name in chosen]
        if not training or not whole.validation:
            raise UserError("data: expected cases for training and validation, received none")
        return replace(whole, training=training)

    @property
    def ignored(self) -> int | None:
        """The label that counts nowhere: of the settings, else of `dataset.json`."""
        given = self.settings.ignore_label
        return self.dataset.ignore if given is None else given

    @cached_property
    def cases(self) -> tuple[list[Case], list[Case]]:
        """Training and validation cases on the working grid, in memory."""
        parts = (self.dataset.training, self.dataset.validation)
        training, validation = (
            [load_case(files, self.settings.spacing_mm) for files in part] for part in parts
        )
        return training, validation

    @cached_property
    def classes(self) -> list[str]:
        """Names of labels 1, 2 ...; without names their numbers."""
        names = self.dataset.classes
        count = count_classes(*self.cases, names, self.ignored)
        given = self.settings.class_weights
        if given and len(given) != count + 1:
            raise UserError(
                f"class_weights: expected {count + 1} numbers, background first, received "
                f"{len(given)}"
            )
        return list(names) or [str(label) for label in range(1, count + 1)]

    def prepare(self) -> None:
        """Read the data, and find the weights."""
        self.classes  # noqa: B018
        if self.settings.weights != "scratch":
            preset_metadata(self.settings.weights)

    def begin(self) -> None:
        """Name the classes in the folder as well."""
        super().begin()
        save_json(self.folder / CLASSES, {"classes": self.classes}, overwrite=True)

    def streams(self) -> tuple[CropStream, Sequence[Case]]:
        """Make the endless crops, and the validation cases."""
        s = self.settings
        training, validation = self.cases
        stream = CropStream(
            training, s.side, s.batch_size, s.seed, steps=s.steps, balanced=s.balanced,
            augmentation=SegmentationAugmentation({} if s.generalise else None),
        )  # fmt: skip
        return stream, validation

    def model(self) -> Segmenter:
        """Make the segmenter, compiled."""
        s = self.settings
        segmenter = self.segmenter(len(self.classes))
        loss = DiceCrossEntropy(
            background=s.background, class_weights=s.class_weights, ignore_label=self.ignored
        )
        rate = EpochCosine(s.learning_rate, s.steps, s.epoch_steps)
        segmenter.compile(LayerRates(rate, s.backbone_rate), loss)
        return segmenter

    def segmenter(self, classes: int) -> Segmenter:
        """Make the network with the weights that training starts from."""
        s = self.settings
        train = int(s.train) if s.train.isdecimal() else cast(Part, s.train)
        return Segmenter(self._backbone(), classes, train, s.seed, dtype=self.policy)

    def _backbone(self) -> UNet:
        s = self.settings
        if s.weights != "scratch":
            return UNet.from_preset(s.weights, dtype=self.policy)
        sizes = {n: v for n, v in {"width": s.width, "levels": s.levels}.items() if v is not None}
        return UNet(**{**ARCHITECTURES[s.architecture], **sizes}, seed=s.seed, dtype=self.policy)

    def columns(self, model: Any) -> list[str]:
        """Dice of each class, and their mean."""
        return ["dice", *(f"dice_{label}" for label in range(1, model.classes + 1))]

    def validate(self, model: Any, validation: Any) -> dict[str, float]:
        """Segment the validation cases whole."""
        predictor = Predictor(model, self.settings.side, overlap=self.settings.overlap)
        return validate(predictor, validation, self.ignored)


def load_run(folder: str | os.PathLike[str]) -> tuple[Segmenter, SegmentationSettings]:
    """Return a run's segmenter with its best weights (its last, before a validation).

    Raises:
        UserError: If the folder holds no segmentation run with weights.
    """
    folder = Path(folder)
    found = [name for name in (BEST, LAST) if (folder / name).exists()]
    if not found or not (folder / CLASSES).exists():
        raise UserError(f"{folder}: expected a run of `anyvox segment train`, with its weights")
    classes = _read_classes(folder / CLASSES)
    settings: SegmentationSettings = SegmentationRun.read_settings(folder)
    segmenter = Segmenter(UNet.from_preset(folder), len(classes))
    try:
        segmenter.load_weights(folder / found[0])
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{folder / found[0]}: cannot be loaded ({reason})") from error
    return segmenter, settings


def _read_classes(path: Path) -> list[str]:
    try:
        classes = json.loads(path.read_text(encoding="utf-8"))["classes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: expected class names ({error!r})") from error
    if not isinstance(classes, list) or not classes:
        raise UserError(f"{path}: expected a list of class names, received {classes!r}")
    return [str(name) for name in classes]
