"""Scans to train on, from files to one grid."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Grid, Volume, min_max, require_same_grid, resample_to
from anyvox_keras.io import list_images, load_labels, load_mask, load_volume, read_table

COLUMNS = ("image", "labels", "mask", "split")
SPLITS = ("train", "validation")


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
            raise UserError(f"{where}: {file}: expected a file, which is absent")
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
