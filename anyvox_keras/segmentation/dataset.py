"""Which files belong together, and the cases they hold."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Volume, min_max, require_same_grid, resample_to
from anyvox_keras.io import case_name, list_images, load_labels, load_volume


class CaseFiles(NamedTuple):
    """An image, its label map, and their name."""

    name: str
    image: Path
    labels: Path


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


def read_dataset(folder: str | os.PathLike[str]) -> Dataset:
    """Find the cases of a folder in the layout of the Medical Segmentation Decathlon.

    `imagesTr/NAME.nii.gz` goes with `labelsTr/NAME.nii.gz`, and `imagesVal`, where there is such a
    folder, with `labelsVal`; the names of the classes come from `dataset.json`, where there is one.

    Args:
        folder: Holds those folders; `imagesTs` is for prediction and not read.

    Raises:
        UserError: An absent or empty folder, an image without labels, a `dataset.json` without
            a background 0.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder with imagesTr and labelsTr, received none")
    training, validation = _cases(folder, "Tr", "training"), []
    if (folder / "imagesVal").exists():
        validation = _cases(folder, "Val", "validation")
    return Dataset(training, validation, *_class_names(folder / "dataset.json"))


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


def _cases(folder: Path, suffix: str, what: str) -> list[CaseFiles]:
    images, labels = folder / f"images{suffix}", folder / f"labels{suffix}"
    if not images.is_dir() or not any(images.iterdir()):
        raise UserError(f"{images}: expected {what} images, received an empty or absent folder")
    cases = [CaseFiles(case_name(p), p, labels / p.name) for p in list_images([images])]
    for case in cases:
        if not case.labels.exists():
            raise UserError(f"{case.image}: its label map {case.labels} does not exist")
    return cases


def _class_names(path: Path) -> tuple[tuple[str, ...], int | None, tuple[int, ...]]:
    """Read both fashions of `labels`, number to name and name to number, and which is ignored."""
    if not path.exists():
        return (), None, ()
    try:
        labels: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")).get("labels", {})
        named = {int(number): str(name) for number, name in _by_number(labels).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: expected labels by number ({error})") from error
    ignored = [number for number, name in named.items() if name.lower() == "ignore"]
    classes = {number: name for number, name in named.items() if number not in ignored}
    numbers = tuple(sorted(classes))
    if not numbers or numbers[0] != 0 or len(ignored) > 1:
        raise UserError(f"{path}: expected labels 0 and above, received {sorted(named)}")
    names = tuple(classes[number] for number in numbers[1:])
    return names, ignored[0] if ignored else None, numbers[1:]


def _by_number(labels: dict[str, Any]) -> dict[str, Any]:
    if all(key.isdigit() for key in labels):
        return labels
    return {str(number): name for name, number in labels.items()}


@dataclass(frozen=True, eq=False)
class Case:
    """An image and its labels on the working grid.

    Args:
        name: What to call it.
        image: `(D, H, W)` float32, in [0, 1].
        label_map: `(D, H, W)` int32.

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

    def __post_init__(self) -> None:
        """Refuse what does not fit."""
        if self.image.shape != self.label_map.shape or self.image.ndim != 3:
            raise ValueError(
                f"`image` and `label_map` must both be (D, H, W). Received: {self.image.shape} "
                f"and {self.label_map.shape}"
            )

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
    image, labels = load_volume(files.image), load_labels(files.labels)
    require_same_grid(labels, image)
    # Headers of one scan differ by rounding: the image's counts.
    labels = Volume(labels.array, image.affine, labels.header, None, labels.name)
    grid = image.grid.to_ras(spacing)
    label_map = resample_to(labels, grid).array.astype("int32")
    if numbers:
        known = [0, *numbers, *([] if ignore_label is None else [ignore_label])]
        label_map = _renumbered(label_map, known, files.name)
    return Case(files.name, scaled(resample_to(image, grid).array), label_map)


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
