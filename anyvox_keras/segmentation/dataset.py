"""Cases: their files, and what those hold on the working grid."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Volume, min_max, require_same_grid, resample_to
from anyvox_keras.io import load_labels
from anyvox_keras.segmentation.scan import read_scan


class CaseFiles(NamedTuple):
    """The files of a case.

    Attributes:
        name: What to call it.
        image: The image: 3D, or 4D with a channel in each volume.
        labels: Its label map.
        channels: Files of the channels in their order, None where the case lacks one; empty where
            `image` holds them all.
    """

    name: str
    image: Path
    labels: Path
    channels: tuple[Path | None, ...] = ()

    @property
    def scan(self) -> Any:
        """What `read_scan` reads: the image, or a list of its channels."""
        return list(self.channels) or self.image


@dataclass(frozen=True)
class Dataset:
    """Cases for training and validation, and what their labels mean.

    Args:
        training: Labelled cases to learn from.
        validation: Labelled cases that choose the best weights; empty for `held_out` ones.
        classes: Names of the labels, in the order of their numbers; empty where none are told.
        ignore: The label whose voxels count nowhere, if one is named "ignore".
        numbers: Numbers of the labels in the files, rising; empty where none are told.

    Example:
        ```python
        from anyvox_keras.segmentation import CaseFiles, Dataset

        pair = CaseFiles("a", "images/a.nii.gz", "labels/a.nii.gz")
        dataset = Dataset([pair], [pair])
        ```
    """

    training: Sequence[CaseFiles]
    validation: Sequence[CaseFiles]
    classes: tuple[str, ...] = ()
    ignore: int | None = None
    numbers: tuple[int, ...] = ()


def held_out(cases: Sequence[CaseFiles]) -> list[CaseFiles]:
    """Cases to validate on where none are set apart: every fifth; none of fewer than five.

    Example:
        ```python
        >>> [case.name for case in held_out([CaseFiles(name, "", "") for name in "abcdefg"])]
        ['e']
        ```
    """
    return list(cases[_HELD - 1 :: _HELD])


def kept(cases: Sequence[CaseFiles]) -> list[CaseFiles]:
    """The cases that `held_out` leaves to learn from."""
    return [case for place, case in enumerate(cases, 1) if place % _HELD]


_HELD = 5


def folds_of(dataset: Dataset, count: int) -> list[Dataset]:
    """Split the training cases: each fold validates on its own part and learns from the others.

    Args:
        dataset: Its validation cases stay out of the folds.
        count: How many folds.

    Raises:
        UserError: If there are fewer than two folds, or fewer cases than folds.

    Example:
        ```python
        >>> cases = [CaseFiles(name, "", "") for name in "abcde"]
        >>> [case.name for case in folds_of(Dataset(cases, ()), 2)[0].validation]
        ['a', 'c', 'e']
        ```
    """
    cases = dataset.training
    if not 2 <= count <= len(cases):
        raise UserError(f"folds: expected 2 to {len(cases)}, one case each, received {count}")
    parts = [[case for place, case in enumerate(cases) if place % count == fold]
             for fold in range(count)]  # fmt: skip
    return [
        replace(dataset, training=[case for case in cases if case not in part], validation=part)
        for part in parts
    ]


@dataclass(frozen=True, eq=False)
class Case:
    """An image and its labels on the working grid.

    Args:
        name: What to call it.
        image: `(D, H, W)`, of several channels `(D, H, W, C)`, float32, in [0, 1].
        label_map: `(D, H, W)` int32.
        structures: `(D, H, W)` int32, what the image is painted from; None where it is a scan's.

    Raises:
        ValueError: If the shapes differ.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.segmentation import Case

        case = Case("a", np.random.rand(9, 8, 7).astype("float32"), np.ones((9, 8, 7), "int32"))
        ```
    """

    name: str
    image: np.ndarray
    label_map: np.ndarray
    structures: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse what does not fit."""
        shapes = self.image.shape[:3], self.label_map.shape
        if shapes[0] != shapes[1] or len(shapes[1]) != 3 or self.image.ndim > 4:
            raise ValueError(
                f"`image` and `label_map` must both be (D, H, W). Received: {self.image.shape} "
                f"and {self.label_map.shape}"
            )

    @property
    def channels(self) -> int:
        """Channels of the image."""
        return self.image.shape[3] if self.image.ndim == 4 else 1

    @cached_property
    def labels(self) -> list[int]:
        """Labels that occur."""
        return [int(label) for label in np.unique(self.label_map)]

    @cached_property
    def places(self) -> dict[int, np.ndarray]:
        """Flat voxel numbers of each label that occurs."""
        return {label: np.flatnonzero(self.label_map == label) for label in self.labels}


def load_case(
    files: CaseFiles,
    spacing: Sequence[float] | None = None,
    scaled: Callable[[np.ndarray], np.ndarray] = min_max,
    numbers: Sequence[int] = (),
    ignore_label: int | None = None,
) -> Case:
    """Read a case, and bring it to the working grid: image linearly, labels by nearest.

    Args:
        files: Of the case.
        spacing: Mm along R, A, S; None keeps the scan's.
        scaled: What brings intensities to [0, 1].
        numbers: Numbers of the labels, which become 1, 2 ...; empty leaves all as they are.
        ignore_label: The label that counts nowhere; beside `numbers` it becomes the last.

    Raises:
        UserError: A file that can't be used, labels that are not integers or not among the numbers,
            image and labels on different grids.
    """
    scan, labels = read_scan(files.scan), load_labels(files.labels)
    require_same_grid(labels, scan.volume)
    # Headers of one scan differ by rounding: the image's counts.
    labels = Volume(labels.array, scan.volume.affine, labels.header, None, labels.name)
    grid = scan.volume.grid.to_ras(spacing)
    label_map = resample_to(labels, grid).array.astype("int32")
    if numbers:
        known = [0, *numbers, *([] if ignore_label is None else [ignore_label])]
        label_map = _renumbered(label_map, known, files.name)
    return Case(files.name, scan.on(grid, scaled), label_map)


def _renumbered(label_map: np.ndarray, known: Sequence[int], name: str) -> np.ndarray:
    """Give each known number its place."""
    present, places = np.unique(label_map, return_inverse=True)
    if beyond := sorted(set(present.tolist()) - set(known)):
        listed = ", ".join(map(str, known))
        raise UserError(f"{name}: expected labels {listed}, received {beyond[0]}")
    found = np.asarray([known.index(number) for number in present.tolist()], "int32")
    return found[places].reshape(label_map.shape)


def label_numbers(cases: Sequence[CaseFiles], ignore_label: int | None = None) -> tuple[int, ...]:
    """Numbers of the labels that the files hold, background and ignored ones left out.

    Args:
        cases: Files to look at.
        ignore_label: A label that is no class.
    """
    found = {int(n) for files in cases for n in np.unique(load_labels(files.labels).array)}
    return tuple(sorted(found - {0, ignore_label}))


def count_classes(
    training: Sequence[Case],
    validation: Sequence[Case],
    names: Sequence[str],
    ignore_label: int | None = None,
) -> int:
    """Return how many classes there are beside the background.

    Args:
        training: Cases to learn from.
        validation: Cases that choose the best weights.
        names: Names of labels 1, 2 ...; empty: as many as the largest training label.
        ignore_label: A label that is no class.

    Raises:
        UserError: A class that no training case has, or a label that is no class.
    """
    present = {label for case in training for label in case.labels} - {0, ignore_label}
    classes = len(names) or max(present, default=0)
    wanted = set(range(1, classes + 1))
    if not wanted:
        raise UserError("training labels: expected at least one class, received background alone")
    if absent := sorted(wanted - present):
        raise UserError(f"training labels: no training case has label {absent[0]} of 1..{classes}")
    for case in [*training, *validation]:
        if beyond := sorted(set(case.labels) - wanted - {0, ignore_label}):
            raise UserError(f"{case.name}: expected labels 0..{classes}, received {beyond[0]}")
    return classes


def count_channels(cases: Sequence[Case]) -> int:
    """Return how many channels the cases' images have; without a case, one.

    Raises:
        UserError: If they differ.
    """
    channels = cases[0].channels if cases else 1
    for case in cases:
        if case.channels != channels:
            raise UserError(
                f"{case.name}: expected {channels} channels, as {cases[0].name} has, received "
                f"{case.channels}"
            )
    return channels


def sides_of(side: int | Sequence[int]) -> tuple[int, ...]:
    """Return three sides; one number stands for all."""
    return (side,) * 3 if isinstance(side, int) else tuple(int(n) for n in side)


def pad_to(array: np.ndarray, sides: Sequence[int]) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Pad `(D, H, W, ...)` with its smallest value to at least `sides`, centred.

    Returns:
        The padded array, and the place of the original in it.

    Example:
        ```python
        >>> padded, inside = pad_to(np.ones((2, 5, 4)), (4, 4, 4))
        >>> padded.shape, padded[inside].shape
        ((4, 5, 4), (2, 5, 4))
        ```
    """
    missing = [max(side - n, 0) for n, side in zip(array.shape, sides, strict=False)]
    before = [(gap + 1) // 2 for gap in missing]
    widths = [(b, gap - b) for b, gap in zip(before, missing, strict=True)]
    widths += [(0, 0)] * (array.ndim - 3)
    inside = tuple(slice(b, b + n) for b, n in zip(before, array.shape, strict=False))
    return np.pad(array, widths, constant_values=array.min()), inside
