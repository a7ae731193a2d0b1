"""A VoxelMorph run in a folder, and trained networks from their files."""

import os
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from anyvox_keras.backend import agreed, peers
from anyvox_keras.errors import UserError, reading
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.io import atomic, prepare_folder
from anyvox_keras.networks.presets import CONFIG, preset_metadata, preset_names
from anyvox_keras.registration.losses import DiceLoss, FeatureLoss
from anyvox_keras.synthesis import LabelEnsemble, SyntheticStream, WholeMaps
from anyvox_keras.templates import open_banks
from anyvox_keras.training.checkpoint import BEST
from anyvox_keras.training.schedules import warm_cosine
from anyvox_keras.training.training_run import CONFIG as SETTINGS, TrainingRun
from anyvox_keras.voxelmorph.network_search import IMAGE_LOSSES
from anyvox_keras.voxelmorph.pairs import DeformedPairs, JoinedPairs, ScanPairs, ScanSet, scan_files
from anyvox_keras.voxelmorph.trainer import NETWORK, VoxelMorphTrainer
from anyvox_keras.voxelmorph.voxelmorph import VoxelMorph
from anyvox_keras.voxelmorph.voxelmorph_settings import VoxelMorphSettings

FEATURES = "features"
ENCODER, DECODER = (16, 32, 32, 32), (32, 32, 32, 32, 16)
#: strides of the grids that are told where the images match
CORRELATION = (2, 4)


def load_network(source: str | os.PathLike[str], dtype: Any = None) -> VoxelMorph:
    """Load a trained network.

    Args:
        source: A run's folder, whose best weights are taken (its last, before a validation); a
            preset's name or folder; a `.keras` file; or an `.h5` file of VoxelMorph's TensorFlow
            line.
        dtype: Dtype policy; None takes the global one.

    Raises:
        UserError: If there is none, or it is another network.

    Example:
        ```python
        VoxelMorph(encoder=(4, 8), decoder=(8, 4, 4)).save("network.keras")
        model = load_network("network.keras")
        ```
    """
    path = Path(source)
    if is_preset(source):
        found: VoxelMorph = VoxelMorph.from_preset(source, dtype)
        return found
    if path.is_dir():
        if not (path / NETWORK).exists():
            raise UserError(f"{path}: expected a run of `anyvox voxelmorph train`, with a network")
        network = _load(path / NETWORK, dtype)
        if (path / BEST).exists():
            network.load_weights(path / BEST)
        return network
    if not path.exists():
        raise UserError(f"{path}: no such run or file of weights")
    if path.suffix == ".h5":
        return VoxelMorph.from_voxelmorph(path)
    return _load(path, dtype)


def how_to_ask(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Say what options of `register_scans` a preset or a run names for its network.

    Args:
        source: As for `load_network`; a file names none.

    Returns:
        Of a preset `affine`, `voxels`, `passes` and `both_ways`, as far as it has them; of a run
        the `spacing` that it was trained at.

    Raises:
        UserError: A damaged preset or run.

    Example:
        ```python
        print(how_to_ask("anyvox-morph")["passes"])  # register_scans(network, ..., passes=2, ...)
        ```
    """
    if is_preset(source):
        return dict(preset_metadata(source).get("registration", {}))
    if not (Path(source) / SETTINGS).exists():
        return {}
    settings: VoxelMorphSettings = VoxelMorphRun.read_settings(Path(source))
    return {"spacing": settings.spacing}


def is_preset(source: str | os.PathLike[str]) -> bool:
    """Whether a preset is meant, by its name or by its folder."""
    path = Path(source)
    return (path / CONFIG).is_file() or (not path.exists() and str(source) in preset_names())


def _load(path: Path, dtype: Any) -> VoxelMorph:
    with reading(path, "a network"):
        found = keras.models.load_model(path, compile=False)
    if not isinstance(found, VoxelMorph):
        raise UserError(f"{path}: expected a VoxelMorph, received a {type(found).__name__}")
    config = {**found.get_config(), "dtype": dtype}
    network = VoxelMorph.from_config(config)
    network.set_weights(found.get_weights())
    return network


class VoxelMorphRun(TrainingRun):
    """Train a `VoxelMorph` by settings into a folder that a killed run goes on from.

    Files: `config.toml`, `log.csv`, `network.keras` and `last.weights.h5` (as they are now),
    `best.weights.h5` (lowest loss on the fixed validation pairs), `state`, and, for the loss
    `feature` on scans, their features, computed once. After a kill, `train` ends with the same
    weights as an unbroken run (bit for bit on a CPU).

    Args:
        folder: The run's folder.
        settings: What to train; a folder that holds a run must have been begun with the same.

    Raises:
        UserError: If the folder's run has other settings; from `train`, if the data can't be used.

    Example:
        ```python
        from anyvox_keras.voxelmorph.voxelmorph_settings import VoxelMorphSettings
        from anyvox_keras.voxelmorph import VoxelMorphRun

        run = VoxelMorphRun("run", VoxelMorphSettings(side=48, steps=300))
        print(run.step, run.finished)  # `run.train()` goes on from there to the end
        ```
    """

    settings: VoxelMorphSettings
    settings_class = VoxelMorphSettings

    def prepare(self) -> None:
        """Read the data, find weights and extractor."""
        s = self.settings
        if s.data:
            self._training_scans()
            if "dice" in s.losses and not s.synthetic and not self.scans.labelled:
                raise UserError(f"{s.data}: expected labels of the scans, for the loss dice")
        self.network  # noqa: B018
        if "feature" in s.losses:
            self.extractor  # noqa: B018

    @cached_property
    def scans(self) -> ScanSet:
        """The scans on their common grid, in memory."""
        return ScanSet(scan_files(self.settings.require("data")), self.settings.spacing or 0.0)

    def _training_scans(self) -> list[int]:
        chosen = self.scans.of("train")
        if len(chosen) < 2:
            raise UserError(
                f"{self.settings.data}: expected at least two scans to train on, "
                f"received {len(chosen)}"
            )
        return chosen

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """What computes the features of the loss `feature`."""
        extractor: FeatureExtractor = FeatureExtractor.from_preset(self.settings.extractor)
        return extractor

    @cached_property
    def network(self) -> VoxelMorph:
        """The network that training starts from."""
        s = self.settings
        if s.weights:
            return load_network(s.weights, self.policy)
        encoder = s.encoder or ENCODER
        return VoxelMorph(
            encoder=encoder,
            decoder=s.decoder or DECODER,
            steps=s.integration,
            flow_stride=s.flow_stride,
            conventions="0.2",
            mind=s.mind,
            correlation=[n for n in CORRELATION if n < 2 ** len(encoder)] if s.correlation else [],
            seed=s.seed,
            dtype=self.policy,
        )

    def streams(self) -> tuple[Any, Any]:
        """Make the endless training pairs and the fixed validation pairs."""
        s = self.settings
        found: list[tuple[Any, Any]] = []
        if s.synthetic:
            bank = open_banks(
                s.templates or ("geometric",), s.shapes, s.side, s.seed, voxel_mm=s.voxel_mm
            )
            maps = WholeMaps.from_folders(s.maps, s.map_mm) if s.maps else None
            drawn = SyntheticStream(bank, s.side, s.batch_size, s.seed, steps=s.steps, maps=maps)
            found.append((drawn, drawn.held_out(self._validation_steps)))
        if s.data:
            carried, masks = self._carried(), self.scans.masks
            training = self._scan_pairs(self._training_scans(), carried, masks, s.steps, False)
            # Without scans held back the pairs are of those trained on.
            checked = self.scans.of("validation")
            checked = checked if len(checked) > 1 else self._training_scans()
            steps = self._validation_steps
            found.append((training, self._scan_pairs(checked, carried, masks, steps, True)))
        training, validation = (
            part[0] if len(part) == 1 else JoinedPairs(*part) for part in zip(*found, strict=True)
        )
        return training, validation if s.validation_pairs else None

    @property
    def _validation_steps(self) -> int:
        return max(1, -(-self.settings.validation_pairs // self.settings.batch_size))

    def _scan_pairs(
        self, chosen: list[int], carried: Any, masks: Any, steps: int, fixed: bool
    ) -> ScanPairs:
        def of(arrays: Any) -> list[np.ndarray]:
            return [arrays[i] for i in chosen]

        return ScanPairs(
            of(self.scans.images),
            {name: of(arrays) for name, arrays in carried.items()},
            masks and of(masks),
            steps,
            self.settings.batch_size,
            self.settings.seed,
            "validation" if fixed else "train",
            fixed,
        )

    def _carried(self) -> dict[str, list[np.ndarray]]:
        """What moves along with the scans; their features are files of the run, made once."""
        self.begin()
        agreed(None)  # the first process may have removed a run
        carried = {}
        if "feature" in self.settings.losses:
            numbers, (index, parts) = range(len(self.scans.files)), peers()
            own = [self._features(i) for i in numbers[index::parts]]
            agreed(None)  # all are written
            carried[FEATURES] = own if parts == 1 else [self._features(i) for i in numbers]
        # To learn from, or only to measure.
        if self.scans.labelled:
            carried["labels"] = self.scans.labels
        return carried

    def _features(self, number: int) -> np.ndarray:
        """The features of a scan by this network, computed once, memory-mapped as float16."""
        image = self.scans.images[number][..., 0]
        path = self.folder / FEATURES / f"{number:05d}-{_checksum(image, self.extractor):08x}.npy"
        if not path.exists():
            prepare_folder(path.parent)
            with atomic(path) as temporary:
                np.save(temporary, self.extractor(image).astype("float16"))
        stored: np.ndarray = np.load(path, mmap_mode="r")
        return stored

    def model(self) -> VoxelMorphTrainer:
        """Make the trainer, compiled."""
        s = self.settings
        weights = dict(zip(s.losses, s.loss_weights or (), strict=False))
        losses, factors = {}, {}
        for name in s.losses:
            key, loss = self._loss(name)
            losses[key], factors[key] = loss, weights.get(name, 1.0)
        classes = LabelEnsemble(s.side).labels
        trainer = VoxelMorphTrainer(
            self.network, losses, factors, s.smoothness,
            deform=DeformedPairs(classes, s.deform_scale, s.deform_std, s.hidden),
            dice=s.synthetic or self.scans.labelled,
        )  # fmt: skip
        self.compile(trainer)
        return trainer

    def compile(self, model: Any) -> None:
        """Configure training by Adam."""
        model.compile(keras.optimizers.Adam(self.rate()))

    def rate(self) -> Any:
        """Learning rate by the settings' schedule."""
        s = self.settings
        if s.schedule == "cosine":
            return warm_cosine(s.learning_rate, s.steps, min(100, s.steps // 10))
        return s.learning_rate

    def _loss(self, name: str) -> tuple[str, keras.losses.Loss]:
        """What a loss compares, and the loss."""
        if name == "dice":
            return "labels", DiceLoss()
        if name == "feature" and self.settings.data:
            return FEATURES, FeatureLoss(self.extractor, recompute=False)
        return "image", FeatureLoss(self.extractor) if name == "feature" else IMAGE_LOSSES[name]()

    def describe(self, model: Any, stream: Any) -> str:
        """Name the network, and what it learns from by what."""
        own = self.network.get_config()
        sizes = f"encoder {own['encoder']}, decoder {own['decoder']}"
        lines = [f"network: {self.network.count_params():,} parameters, {sizes}"]
        if self.settings.synthetic:
            lines.append(f"synthetic pairs: {self.settings.side}^3 voxels")
        if self.settings.data:
            shape = " x ".join(map(str, self.scans.grid.shape))
            lines.append(f"scans: {len(self._training_scans())}, {shape} voxels")
        return "\n".join([*lines, f"losses: {', '.join(self.settings.losses)}"])

    def columns(self, model: Any) -> list[str]:
        """Each loss, folds and Dice."""
        return [metric.name for metric in model.metrics if metric.name != "loss"]


def _checksum(image: np.ndarray, extractor: FeatureExtractor) -> int:
    """A sum that changes with an image or the network that sees it."""
    found = zlib.crc32(np.ascontiguousarray(image).data)
    for weight in extractor.backbone.get_weights():
        found = zlib.crc32(np.ascontiguousarray(weight).data, found)
    return found
