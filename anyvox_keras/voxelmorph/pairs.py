"""Pairs to train on: synthetic ones, scans, or both."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras.backend import recorded
from anyvox_keras.errors import UserError
from anyvox_keras.export import Float32Layer, export
from anyvox_keras.geometry import Grid, Volume, min_max, require_same_grid, resample_to
from anyvox_keras.io import list_images, load_labels, load_mask, load_volume, read_table
from anyvox_keras.ops import integrate_velocity, resize_displacement, warp
from anyvox_keras.random import Range, RangeLike, fold_in, integers, keys_for, smooth_noise, uniform
from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream
from anyvox_keras.types import Array

COLUMNS = ("image", "labels", "mask", "split")
SPLITS = ("train", "validation")
Batch = dict[str, Any]
IMAGES = ("fixed", "moving")
Scans = Sequence[np.ndarray]


@dataclass(frozen=True)
class ScanFile:
    """A scan's files, and what it is for."""

    image: Path
    labels: Path | None = None
    mask: Path | None = None
    split: str = "train"


def scan_files(data: str | os.PathLike[str]) -> list[ScanFile]:
    """Find the scans of a folder, or of a CSV with the column `image`.

    The CSV's `labels`, `mask` and `split` (train or validation) may be absent or empty; relative
    paths start at its folder.

    Raises:
        UserError: An absent file or folder, an unknown column or split, no image.

    Example:
        ```python
        from pathlib import Path

        Path("scans").mkdir()
        Path("scans/t1.nii.gz").touch()
        files = scan_files("scans")  # or "scans.csv"
        ```
    """
    path = Path(data)
    if path.is_dir() or not path.exists():
        return [ScanFile(image) for image in list_images([path])]
    return [_scan(path.parent, where, row) for where, row in read_table(path, "scan", COLUMNS)]


def _scan(folder: Path, where: str, given: dict[str, str]) -> ScanFile:
    if "image" not in given:
        raise UserError(f"{where}: expected an image, received none")
    split = given.pop("split", "train")
    if split not in SPLITS:
        raise UserError(f"{where}: expected split train or validation, received {split}")
    files = {name: folder / text for name, text in given.items()}
    for file in files.values():
        if not file.exists():
            raise UserError(f"{where}: {file}: no such file")
    return ScanFile(**files, split=split)


class ScanSet:
    """Scans on the network's grid over the first one, ready for `ScanPairs`.

    Headers are trusted to align them.

    Args:
        files: The scans.
        spacing: Mm of the grid; 0 keeps the first scan's.

    Raises:
        UserError: A file that can't be used; labels or masks of some scans only.
    """

    def __init__(self, files: Sequence[ScanFile], spacing: float = 0.0) -> None:
        self.files = list(files)
        self._volumes = [load_volume(file.image) for file in files]
        self.grid: Grid = self._volumes[0].grid.to_nearly_cubic().to_ras(spacing or None)
        self.images = [
            min_max(resample_to(volume, self.grid).array)[..., None] for volume in self._volumes
        ]
        self.labelled = self._all("labels")
        self.masks = self._masks() if self._all("mask") else None

    def of(self, split: str) -> list[int]:
        """Numbers of the scans of a split."""
        return [i for i, file in enumerate(self.files) if file.split == split]

    @cached_property
    def labels(self) -> list[np.ndarray]:
        """One-hot label maps `(D, H, W, L)`, uint8, of the labels that any scan holds."""
        maps = []
        for file, volume in zip(self.files, self._volumes, strict=True):
            labels = load_labels(file.labels)
            require_same_grid(labels, volume)
            placed = Volume(labels.array, volume.affine, None, None, labels.name)
            maps.append(resample_to(placed, self.grid).array)
        known = np.unique(np.concatenate([[0], *map(np.unique, maps)]))
        return [(array[..., None] == known).astype("uint8") for array in maps]

    def _masks(self) -> list[np.ndarray]:
        masks = []
        for file, volume in zip(self.files, self._volumes, strict=True):
            mask = load_mask(file.mask, of=volume)
            masks.append(resample_to(Volume(mask.array, volume.affine), self.grid).array)
        return masks

    def _all(self, what: str) -> bool:
        lacking = [file.image for file in self.files if getattr(file, what) is None]
        if lacking and len(lacking) < len(self.files):
            raise UserError(f"{lacking[0]}: expected {what} as of other scans, received none")
        return not lacking


@export
class DeformedPairs(Float32Layer):
    """Deform the two views of a synthetic pair differently: registration's training data.

    Each view of one label map gets a velocity of its own, Gaussian noise on nodes `scale` voxels
    apart, upsampled linearly, with a standard deviation drawn uniformly from `std` per image. Of
    several scales the noises add up, each in proportion to its scale, so that all strain alike. The
    integral, taken at every second voxel where no scale is below four, warps the view linearly and
    the labels by nearest. The contrasts of the views are independent, so what is learnt cannot
    depend on them (Hoffmann et al., SynthMorph, TMI 2022). With probability `hidden` one of the
    views shows only some of the labels, the others being black, as where one of two heads is
    stripped of its skull.

    Call with `keys` `(B, 2)` and the stream's `label_map`, `view1` and `view2`; returns `fixed` and
    `moving` `(B, D, H, W, 1)`, and one-hot `fixed_labels` and `moving_labels`
    `(B, D, H, W, classes)`; float32. What is drawn is a function of the keys alone.

    Args:
        classes: Number of labels, the background's 0 included: `stream.classes`.
        scale: Distance of the nodes, in voxels; one or several.
        std: Range of the velocity's standard deviation at the nodes of the largest scale, in
            voxels.
        hidden: Probability that one of the views lacks labels; how many, a share U(0, 1), is drawn.

    Raises:
        ValueError: If `classes` is below one, there is no scale or one not above 0, `std` is
            negative, or `hidden` no probability.

    Example:
        ```python
        import anyvox_keras as avx
        from anyvox_keras.voxelmorph import DeformedPairs

        bank = avx.TemplateBank.geometric(count=50, side=16)
        stream = avx.SyntheticStream(bank, side=16)
        drawn = {**stream.layer(stream[0][0]), "keys": stream[0][0]["keys"]}
        pair = DeformedPairs(stream.classes, scale=6)(drawn)
        ```
    """

    def __init__(
        self,
        classes: int,
        scale: float | Sequence[float] = 12.0,
        std: RangeLike = (0.0, 3.0),
        hidden: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if not 0 <= hidden <= 1:
            raise ValueError(f"`hidden` must be in [0, 1]. Received: hidden={hidden}")
        self.hidden = float(hidden)
        if classes < 1:
            raise ValueError(f"`classes` must be >= 1. Received: classes={classes}")
        self.classes = classes
        self.scale = [float(x) for x in (scale if isinstance(scale, Sequence) else [scale])]
        if not self.scale or min(self.scale) <= 0:
            raise ValueError(f"`scale` must be > 0. Received: scale={scale}")
        self.std = Range(std, "std", minimum=0.0)
        self._deform = recorded(self._deformed)

    def call(self, inputs: Batch) -> Batch:
        """Draw two deformations and apply them."""
        names = ("keys", "label_map", "view1", "view2")
        return self._deform({name: ops.convert_to_tensor(inputs[name]) for name in names})

    def _deformed(self, inputs: Batch) -> Batch:
        pair: Batch = {}
        for i, (name, view) in enumerate(zip(IMAGES, ("view1", "view2"), strict=True)):
            image = inputs[view]
            if self.hidden:
                image = image * self._shown(inputs, i)
            displacement = self._displacement(fold_in(inputs["keys"], name), image)
            labels = warp(inputs["label_map"], displacement, "nearest", "edge")
            pair[name] = warp(image, displacement, outside="edge")
            pair[f"{name}_labels"] = ops.one_hot(labels, self.classes, dtype="float32")
        return pair

    def _shown(self, inputs: Batch, number: int) -> Array:
        """1 where a view, the first or the second, shows what is there, `(B, D, H, W, 1)`."""
        keys, label_map = fold_in(inputs["keys"], "hidden"), inputs["label_map"]
        decided, which, share = (x[:, None] for x in ops.unstack(uniform(keys, (3,), 0, 1), axis=1))
        own = ops.logical_and(decided < self.hidden, (which < 0.5) == (number == 0))
        lacking = uniform(fold_in(keys, "labels"), (self.classes,), 0, 1) < share
        shown = 1 - ops.cast(ops.logical_and(own, lacking), "float32")
        flat = ops.reshape(label_map, (-1, math.prod(label_map.shape[1:])))
        found = ops.take_along_axis(shown, flat, axis=1)
        return ops.reshape(found, (-1, *label_map.shape[1:], 1))

    def _displacement(self, keys: Array, view: Array) -> Array:
        shape = view.shape[1:4]
        # Every second voxel follows nodes four or more voxels apart, at an eighth of the work.
        stride = 2 if min(self.scale) >= 4 else 1
        coarse = [-(-side // stride) for side in shape]
        std = uniform(fold_in(keys, "std"), (1,), *self.std.pair) / stride
        nodes = fold_in(keys, "velocity")
        velocity = sum(
            smooth_noise(fold_in(nodes, str(i)), coarse, scale / stride, channels=3)
            * (scale / max(self.scale))
            for i, scale in enumerate(self.scale)
        )
        field = integrate_velocity(velocity * std[:, :, None, None, None], steps=5)
        return field if stride == 1 else resize_displacement(field, shape)

    def compute_output_spec(self, inputs: dict[str, Any]) -> Any:
        """Two images and their labels."""
        image = tuple(inputs["view1"].shape)
        labels = (*image[:-1], self.classes)
        shapes = dict.fromkeys(IMAGES, image)
        shapes |= {f"{name}_labels": labels for name in IMAGES}
        return {name: keras.KerasTensor(shape, "float32") for name, shape in shapes.items()}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "classes": self.classes,
            "scale": self.scale,
            "std": self.std.pair,
            "hidden": self.hidden,
        }


class ScanPairs(SeekableStream):
    """What `VoxelMorphTrainer.fit` eats: two different scans of a list, drawn anew each step.

    Pair `i` of a seed is always the same; each ordered pair is as likely as any other. The scans
    lie on one grid, roughly aligned; their modalities may differ. Arrays may be memory-mapped.

    Args:
        images: Arrays `(D, H, W, C)`, at least two.
        carried: What belongs to each image and moves with it, by name: `{"labels": [...]}`, one-hot
            `(D, H, W, L)`, or `{"features": [...]}`; the names are those of the trainer's losses.
        masks: `(D, H, W)` where voxels count, one an image, or none.
        steps: Steps an epoch.
        batch_size: Pairs a step.
        seed: Seed of the pairs.
        split: Name that keeps the pairs of one seed apart.
        fixed: Whether every epoch repeats the same pairs.

    Raises:
        ValueError: If there are fewer than two images, or a list is not as long as they.

    Example:
        ```python
        scans = list(np.random.rand(3, 16, 16, 16, 1).astype("float32"))
        batch = ScanPairs(scans, steps=10)[0][0]  # {"fixed": (1, 16, 16, 16, 1), "moving": ...}
        ```
    """

    def __init__(
        self,
        images: Scans,
        carried: dict[str, Scans] | None = None,
        masks: Scans | None = None,
        steps: int = 100,
        batch_size: int = 1,
        seed: int = 0,
        split: str = "train",
        fixed: bool = False,
    ) -> None:
        super().__init__(batch_size, seed, steps, split, fixed)
        if len(images) < 2:
            raise ValueError(f"`images` must be at least two. Received: {len(images)}")
        lists = {"": images, **{f"_{name}": x for name, x in (carried or {}).items()}}
        if masks is not None:
            lists["_mask"] = masks
        for name, scans in lists.items():
            if len(scans) != len(images):
                raise ValueError(
                    f"`{name[1:]}` must be as many as `images`. "
                    f"Received: {len(scans)} and {len(images)}"
                )
        self.lists = lists

    def batch(self, samples: range) -> dict[str, np.ndarray]:
        """Hand over the pairs of these numbers."""
        fixed, moving = self._numbers(samples).T
        batch = {}
        for suffix, scans in self.lists.items():
            for name, chosen in (("fixed", fixed), ("moving", moving)):
                batch[name + suffix] = np.stack([scans[i] for i in chosen]).astype("float32")
        return batch

    def _numbers(self, samples: range) -> np.ndarray:
        """Two different scans a pair, `(len(samples), 2)`."""
        count = len(self.lists[""])
        keys = keys_for(self.seed, samples, f"{self.split}/scan_pairs")
        draws = np.asarray(integers(keys, (1,), 0, count * (count - 1), xp=np))[:, 0]
        fixed = draws // (count - 1)
        return np.stack([fixed, (fixed + 1 + draws % (count - 1)) % count], axis=1)


class JoinedPairs(SeekableStream):
    """What `VoxelMorphTrainer.fit` eats to train on both: each batch holds a pair of each kind.

    Args:
        synthetic: A `SyntheticStream`, whose batch size, seed and length are taken.
        scans: Pairs of scans, as many a step.

    Raises:
        ValueError: If the batch sizes differ.

    Example:
        ```python
        import anyvox_keras as avx

        from anyvox_keras.voxelmorph import JoinedPairs

        bank = avx.TemplateBank.geometric(count=50, side=16)
        scans = list(np.random.rand(3, 16, 16, 16, 1).astype("float32"))
        pairs = JoinedPairs(avx.SyntheticStream(bank, side=16), ScanPairs(scans))
        ```
    """

    def __init__(self, synthetic: Any, scans: ScanPairs) -> None:
        if synthetic.batch_size != scans.batch_size:
            raise ValueError(
                "`synthetic` and `scans` must have the same batch size. "
                f"Received: {synthetic.batch_size} and {scans.batch_size}"
            )
        super().__init__(
            synthetic.batch_size, synthetic.seed, synthetic.steps, synthetic.split, synthetic.fixed
        )
        self.synthetic, self.scans = synthetic, scans
        self.layer, self.classes = synthetic.layer, synthetic.classes

    def batch(self, samples: range) -> dict[str, np.ndarray]:
        """Hand over the pairs of these numbers, of both kinds."""
        return {**self.synthetic.batch(samples), **self.scans.batch(samples)}
