"""Which files belong together."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from anyvox_keras.errors import UserError
from anyvox_keras.io import case_name, list_images


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
        validation: Labelled cases that choose the best weights.
        classes: Names of labels 1, 2 ...; empty where nothing tells them.
        ignore: The label whose voxels count nowhere, if one is named "ignore".

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


def read_dataset(folder: str | os.PathLike[str]) -> Dataset:
    """Find the cases of a folder in the layout of the Medical Segmentation Decathlon.

    `imagesTr/NAME.nii.gz` goes with `labelsTr/NAME.nii.gz`, `imagesVal` with `labelsVal`; the
    names of the classes come from `dataset.json`, where there is one.

    Args:
        folder: Holds those folders; `imagesTs` is for prediction and not read.

    Raises:
        UserError: An absent or empty folder, an image without labels, a `dataset.json` whose
            labels do not count up from 0.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder with imagesTr and labelsTr, received none")
    training, validation = _cases(folder, "Tr", "training"), _cases(folder, "Val", "validation")
    return Dataset(training, validation, *_class_names(folder / "dataset.json"))


def _cases(folder: Path, suffix: str, what: str) -> list[CaseFiles]:
    images, labels = folder / f"images{suffix}", folder / f"labels{suffix}"
    if not images.is_dir() or not any(images.iterdir()):
        raise UserError(f"{images}: expected {what} images, received an empty or absent folder")
    cases = [CaseFiles(case_name(p), p, labels / p.name) for p in list_images([images])]
    for case in cases:
        if not case.labels.exists():
            raise UserError(f"{case.image}: expected its label map {case.labels}, which is absent")
    return cases


def _class_names(path: Path) -> tuple[tuple[str, ...], int | None]:
    """Read both fashions of `labels`, number to name and name to number, and which is ignored."""
    if not path.exists():
        return (), None
    try:
        labels: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")).get("labels", {})
        named = {int(number): str(name) for number, name in _by_number(labels).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: expected labels by number ({error})") from error
    ignored = [number for number, name in named.items() if name.lower() == "ignore"]
    classes = {number: name for number, name in named.items() if number not in ignored}
    if sorted(classes) != list(range(len(classes))) or len(ignored) > 1:
        raise UserError(f"{path}: expected labels 0, 1, 2 ..., received {sorted(named)}")
    names = tuple(classes[number] for number in range(1, len(classes)))
    return names, ignored[0] if ignored else None


def _by_number(labels: dict[str, Any]) -> dict[str, Any]:
    if all(key.isdigit() for key in labels):
        return labels
    return {str(number): name for name, number in labels.items()}
