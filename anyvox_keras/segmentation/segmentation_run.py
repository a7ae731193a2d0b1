"""A few-shot training in a folder."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np

from anyvox_keras.backend import device_name, peers
from anyvox_keras.errors import UserError
from anyvox_keras.io import save_json
from anyvox_keras.networks import ARCHITECTURES, UNet, load_network
from anyvox_keras.networks.any_network import fixed_sides
from anyvox_keras.segmentation.crops import EFFECTS, MILDER, CropStream, SegmentationAugmentation
from anyvox_keras.segmentation.dataset import (
    Case,
    CaseFiles,
    Dataset,
    count_channels,
    count_classes,
    held_out,
    kept,
    label_numbers,
    load_case,
)
from anyvox_keras.segmentation.dice import DiceCrossEntropy
from anyvox_keras.segmentation.evaluate import validate
from anyvox_keras.segmentation.fine_tuning import LayerRates, fitted, renew_decoder
from anyvox_keras.segmentation.fingerprint import Fingerprint, read_fingerprint
from anyvox_keras.segmentation.layouts import read_class_names, read_dataset
from anyvox_keras.segmentation.painted import PaintedCrops, list_maps, load_painted, structures_of
from anyvox_keras.segmentation.predictor import Predictor
from anyvox_keras.segmentation.run_files import CLASSES
from anyvox_keras.segmentation.scan import Scaling
from anyvox_keras.segmentation.segmentation_settings import SegmentationSettings
from anyvox_keras.segmentation.segmenter import Segmenter
from anyvox_keras.training.schedules import EpochCosine
from anyvox_keras.training.training_run import TrainingRun
from anyvox_keras.types import Part

# poolings that crops are made to suit, of a network that does not tell its own
_LEVELS = 5
# probability that a channel is left out of a crop, where there are several
_MISSING = 0.1


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
        devices: How many devices train together; each validates all cases.

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
        devices: int = 1,
    ) -> None:
        super().__init__(folder, settings, overwrite, devices)
        self._dataset = dataset

    @cached_property
    def dataset(self) -> Dataset:
        """The files, of the chosen training cases."""
        whole, training = self._whole, self.scans
        if not training and not self.maps:
            raise UserError("data: expected cases for training, received none")
        if whole.validation:
            return replace(whole, training=training)
        return replace(whole, training=kept(training), validation=held_out(training))

    @property
    def scans(self) -> list[CaseFiles]:
        """The chosen training cases, before any are held out."""
        chosen, known = self.settings.cases or (), self._whole.training
        if absent := sorted(set(chosen) - {case.name for case in known}):
            raise UserError(f"cases: expected names of training cases, received {absent[0]}")
        return [case for case in known if not chosen or case.name in chosen]

    @cached_property
    def _whole(self) -> Dataset:
        """What the settings name: scans, or, of label maps alone, what their labels mean."""
        if self._dataset is not None:
            return self._dataset
        data, maps = self.settings.data, self.settings.synthetic_from
        if data is None and maps is not None:
            return Dataset((), (), *read_class_names(Path(maps) / "dataset.json"))
        return read_dataset(self.settings.require("data"))

    @cached_property
    def maps(self) -> list[CaseFiles]:
        """Label maps from which images are painted."""
        folder = self.settings.synthetic_from
        return [] if folder is None else list_maps(Path(folder))

    @cached_property
    def structures(self) -> tuple[int, ...]:
        """Numbers of all that is painted each in its own way."""
        return structures_of(self.maps)

    @property
    def ignored(self) -> int | None:
        """The label that counts nowhere: of the settings, else of `dataset.json`."""
        given = self.settings.ignore_label
        return self.dataset.ignore if given is None else given

    @cached_property
    def cases(self) -> tuple[list[Case], list[Case]]:
        """Training and validation cases on the working grid, in memory."""
        self.fit_scans()
        parts = (self.dataset.training, self.dataset.validation)
        training, validation = ([self.read(files) for files in part] for part in parts)
        spacing = self.settings.spacing_mm
        training += [load_painted(m, self.structures, self.numbers, spacing) for m in self.maps]
        count_channels([*training, *validation])
        return training, validation

    def read(self, files: CaseFiles) -> Case:
        """Read a case as the network sees it; the scans' own settings are then settled."""
        s = self.settings
        gaps = self.numbers if self._gaps else ()
        return load_case(files, s.spacing_mm, self.scaled, gaps, self.ignored)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the classes in the files: of `dataset.json`, else those that occur."""
        learnt = self.dataset.training or self.maps
        return self.dataset.numbers or label_numbers(learnt, self.ignored)

    @property
    def _gaps(self) -> bool:
        """Whether the numbers do not count 1, 2 ...; the network's classes do."""
        # Without names a missing number is a gap; a Dataset of one's own may have names alone.
        named = self.dataset.classes and not self.dataset.numbers
        return not named and self.numbers != tuple(range(1, len(self.numbers) + 1))

    @property
    def _ignored_class(self) -> int | None:
        """The number that stands for the ignored label beside the network's classes."""
        return len(self.numbers) + 1 if self._gaps and self.ignored is not None else self.ignored

    @property
    def scaled(self) -> Scaling:
        """What brings intensities to [0, 1]."""
        return Scaling(self.settings.scaling, self.settings.window)

    @cached_property
    def classes(self) -> list[str]:
        """Names of labels 1, 2 ...; without names their numbers."""
        names = self.dataset.classes
        count = count_classes(*self.cases, names, self._ignored_class)
        given = self.settings.class_weights
        if given and len(given) != count + 1:
            raise UserError(
                f"class_weights: expected {count + 1} numbers, background first, received "
                f"{len(given)}"
            )
        return list(names) or [str(number) for number in self.numbers]

    def prepare(self) -> None:
        """Read the data, and find the weights."""
        self.classes  # noqa: B018

    def fit_scans(self) -> None:
        """Settle what hangs on the scans and is not given: voxel size, crops, CT's window."""
        s = self.settings
        if s.crop is not None and s.voxel is not None:
            return
        facts = read_fingerprint(self.dataset.training or self.maps, self.ignored)
        spacing = s.spacing_mm or (None if facts.alike else facts.spacing)
        if spacing is not None:
            facts = facts.on(spacing)
        voxel, side = s.voxel or facts.spacing, s.side or _usual_side(s)
        self.settings = replace(
            s,
            side=side,
            spacing=spacing,
            voxel=voxel,
            crop=s.crop or self._crop(replace(facts, spacing=voxel), side),
            window=s.window or facts.window,
        )

    def _crop(self, facts: Fingerprint, side: int) -> tuple[int, ...]:
        """Sides that suit the scans, or those that the network insists on."""
        levels = getattr(self._start, "levels", _LEVELS)
        return fixed_sides(self._start) or facts.crop(side, levels)

    @cached_property
    def _start(self) -> keras.Model:
        """The network that training starts from, as it was made: it pools all axes alike."""
        s = self.settings
        if s.weights != "scratch":
            return load_network(s.weights, self.policy)
        sizes = {n: v for n, v in {"width": s.width, "levels": s.levels}.items() if v is not None}
        return UNet(**{**ARCHITECTURES[s.architecture], **sizes}, seed=s.seed, dtype=self.policy)

    def begin(self) -> None:
        """Name the classes in the folder as well."""
        super().begin()
        if peers()[0]:
            return
        named: dict[str, Any] = {"classes": self.classes}
        if self._gaps:
            named["numbers"] = self.numbers
        if any(case.channels for case in self.dataset.training):
            named["files"] = count_channels(self.cases[0])
        save_json(self.folder / CLASSES, named, overwrite=True)

    def streams(self) -> tuple[CropStream, Sequence[Case] | None]:
        """Make the endless crops, and the validation cases, if there are any."""
        training, validation = self.cases
        s = self.settings
        stream = CropStream(
            training, s.crop, s.batch_size, s.seed, steps=s.steps, balanced=s.balanced,
            augmentation=self._augmentation(), missing=_MISSING,
        )  # fmt: skip
        return stream, validation or None

    def _augmentation(self) -> SegmentationAugmentation | PaintedCrops:
        s = self.settings
        appearance: dict[str, Any] | None = {} if s.generalise else None
        own: dict[str, Any] = {}
        if s.augmentation == "none":
            own = {"rescaled": False, **dict.fromkeys((*EFFECTS, "affine"))}
        if named := MILDER.get(s.augmentation):
            affine = {**named["affine"], "spacing": s.voxel}
            own = {**named, "rescaled": s.generalise, "affine": affine}
        augmentation = SegmentationAugmentation(appearance, **own)
        return PaintedCrops(len(self.structures), augmentation) if self.maps else augmentation

    def model(self) -> Segmenter:
        """Make the segmenter, compiled."""
        segmenter = self.segmenter(len(self.classes))
        self.compile(segmenter)
        return segmenter

    def compile(self, model: Any) -> None:
        """Configure training by Adam, and by Dice with cross-entropy."""
        s = self.settings
        loss = DiceCrossEntropy(
            background=s.background, class_weights=s.class_weights, rarity=s.rarity,
            ignore_label=self._ignored_class,
        )  # fmt: skip
        average: dict[str, Any] = {} if s.ema is None else {"use_ema": True, "ema_momentum": s.ema}
        decay = s.weight_decay or None
        model.compile(LayerRates(self.rate(), s.backbone_rate, weight_decay=decay, **average), loss)

    def rate(self) -> Any:
        """Learning rate by the settings' schedule."""
        s = self.settings
        if s.schedule == "cosine":
            return EpochCosine(s.learning_rate, s.steps, s.epoch_steps)
        return keras.optimizers.schedules.PolynomialDecay(s.learning_rate, s.steps, 0.0, power=0.9)

    def segmenter(self, classes: int) -> Segmenter:
        """Make the network with the weights that training starts from."""
        s = self.settings
        train = int(s.train) if s.train.isdecimal() else cast(Part, s.train)
        return Segmenter(self._backbone(), classes, train, s.seed, dtype=self.policy)

    def _backbone(self) -> keras.Model:
        """The network, made to suit the scans."""
        start, crop = self._start, self.settings.crop
        if (sides := fixed_sides(start)) not in (None, crop):
            raise UserError(f"crop: expected the network's, {sides}, received {crop}")
        if not isinstance(start, UNet):
            return start
        network = fitted(start, self.settings.voxel, count_channels(self.cases[0]))
        if self._renews:
            renew_decoder(network, self.settings.seed)
        return network

    @property
    def _renews(self) -> bool:
        """Whether the decoder starts anew: where all is trained, and another task taught it."""
        s = self.settings
        if s.weights == "scratch" or s.keep is not None:
            return s.keep == "encoder"
        return s.train == "all" and not (Path(s.weights) / CLASSES).exists()

    def loss_of(self, row: dict[str, Any]) -> float:
        """Loss of the validation; without one, the latest weights are the best."""
        return float(row.get("val_loss", -row["step"]))

    def validation_seconds(self, model: Any, validation: Any) -> float:
        """Time the smallest case, and count voxels."""
        voxels = [case.image.size for case in validation]
        smallest = [validation[int(np.argmin(voxels))]]
        # The first time, it is compiled.
        self.validate(model, smallest)
        begin = time.monotonic()
        self.validate(model, smallest)
        return (time.monotonic() - begin) * sum(voxels) / min(voxels)

    def describe(self, model: Any, stream: Any) -> str:
        """Count the cases, and name the classes."""
        training, validation = self.cases
        counts = f"{len(training)} cases for training, {len(validation)} for validation"
        return f"{counts}: {', '.join(self.classes)}\n{super().describe(model, stream)}"

    def columns(self, model: Any) -> list[str]:
        """Dice of each class, and their mean."""
        return ["dice", *(f"dice_{label}" for label in range(1, model.classes + 1))]

    def validate(self, model: Any, validation: Any) -> dict[str, float]:
        """Segment the validation cases whole."""
        s = self.settings
        predictor = Predictor(model, s.crop, overlap=s.overlap)
        return validate(predictor, validation, self._ignored_class)


def _usual_side(settings: SegmentationSettings) -> int:
    if device_name() != "CPU":
        return 96
    return 48 if settings.minutes is not None and settings.minutes <= 20 else 64
