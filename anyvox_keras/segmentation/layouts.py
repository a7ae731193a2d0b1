"""Where the cases of a folder lie: as the Decathlon, nnU-Net and BIDS derivatives have them."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyvox_keras.errors import UserError
from anyvox_keras.io import by_case, case_name, list_images, load_label_names
from anyvox_keras.segmentation.dataset import CaseFiles, Dataset

# nnU-Net's NAME_0000.nii.gz, one file a channel
_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")
# what names a label map in BIDS derivatives
_SEGMENTATIONS = ("dseg", "seg", "mask", "probseg")
# entities of BIDS that tell how a label map was made, not of which image
_MADE = ("desc", "label", "seg", "atlas", "res", "den")


def read_dataset(folder: str | os.PathLike[str]) -> Dataset:
    """Find the cases of a folder, in the layout of the Decathlon, of nnU-Net or of BIDS.

    - Decathlon: `imagesTr/NAME.nii.gz` goes with `labelsTr/NAME.nii.gz`, and `imagesVal`, where
      there is such a folder, with `labelsVal`. A 4D image holds a channel in each volume.
    - nnU-Net: the same folders with a file for each channel, `imagesTr/NAME_0000.nii.gz`,
      `NAME_0001.nii.gz` ... A case may lack some of them.
    - BIDS: label maps `*_dseg.nii.gz` anywhere below the folder, most often in `derivatives`, go
      with the image of the same subject and session that shares their entities.

    The names of the classes come from `dataset.json`, or from a `dseg.tsv`, where there is one.

    Args:
        folder: Holds those folders; `imagesTs` is for prediction and not read.

    Raises:
        UserError: An absent or empty folder, an image without labels, a `dataset.json` without
            a background 0, a label map of BIDS with no image or several.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder with imagesTr and labelsTr, received none")
    if not (folder / "imagesTr").exists() and (maps := _bids_maps(folder)):
        return Dataset([_bids_case(folder, path) for path in maps], (), *_bids_names(folder))
    training, validation = _cases(folder, "Tr", "training"), []
    if (folder / "imagesVal").exists():
        validation = _cases(folder, "Val", "validation")
    return Dataset(training, validation, *read_class_names(folder / "dataset.json"))


def _cases(folder: Path, suffix: str, what: str) -> list[CaseFiles]:
    images, labels = folder / f"images{suffix}", folder / f"labels{suffix}"
    if not images.is_dir() or not any(images.iterdir()):
        raise UserError(f"{images}: expected {what} images, received an empty or absent folder")
    known = by_case(list_images([labels])) if labels.is_dir() and any(labels.iterdir()) else {}
    found = list_images([images])
    parts = [path for path in found if _is_channel(path, known)]
    joined = join_channels(parts)
    whole = [path for path in found if path not in parts]
    for path in whole:
        if case_name(path) not in known:
            raise UserError(f"{path}: its label map {labels / path.name} does not exist")
    cases = [CaseFiles(case_name(path), path, known[case_name(path)]) for path in whole]
    for name, channels in joined.items():
        first = next(path for path in channels if path is not None)
        cases.append(CaseFiles(name, first, known[name], channels))
    return sorted(cases)


def _is_channel(path: Path, labels: dict[str, Path]) -> bool:
    """Whether a file is a channel of a case: the label map lacks the four digits."""
    name = case_name(path)
    found = _CHANNEL.fullmatch(name)
    return name not in labels and found is not None and found["case"] in labels


def join_channels(
    paths: Sequence[Path], count: int | None = None
) -> dict[str, tuple[Path | None, ...]]:
    """Join files `NAME_0000`, `NAME_0001` ... by their case.

    Args:
        paths: The files.
        count: How many channels there are; None for as many as the case with most.

    Returns:
        The files of each case, None where it lacks one.

    Raises:
        UserError: A name without four digits at its end, or a channel beyond `count`.

    Example:
        ```python
        >>> join_channels([Path("a_0000.nii.gz"), Path("b_0000.nii.gz"), Path("b_0001.nii.gz")])
        {'a': (PosixPath('a_0000.nii.gz'), None), 'b': (PosixPath('b_0000.nii.gz'), ...)}
        ```
    """
    found: dict[str, dict[int, Path]] = {}
    for path in paths:
        name = _CHANNEL.fullmatch(case_name(path))
        if name is None:
            raise UserError(f"{path}: expected a name as NAME_0000, one file a channel")
        found.setdefault(name["case"], {})[int(name["channel"])] = path
    most = max((1 + max(channels) for channels in found.values()), default=0)
    if count is not None and most > count:
        raise UserError(f"{paths[0].parent}: expected {count} channels, received {most}")
    numbers = range(count or most)
    return {name: tuple(map(channels.get, numbers)) for name, channels in found.items()}


def read_class_names(path: Path) -> tuple[tuple[str, ...], int | None, tuple[int, ...]]:
    """Read the `labels` of a `dataset.json`, number to name or name to number.

    Args:
        path: The file; without one nothing is told.

    Returns:
        Names of the classes, the number that is named "ignore", and the classes' numbers.

    Raises:
        UserError: If it tells no labels from 0 up.
    """
    if not path.exists():
        return (), None, ()
    try:
        labels: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")).get("labels", {})
        named = {int(number): str(name) for number, name in _by_number(labels).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: expected labels by number ({error})") from error
    return _named(named, path)


def _by_number(labels: dict[str, Any]) -> dict[str, Any]:
    if all(key.isdigit() for key in labels):
        return labels
    return {str(number): name for name, number in labels.items()}


def _named(
    named: dict[int, str], path: Path
) -> tuple[tuple[str, ...], int | None, tuple[int, ...]]:
    """Names of classes, the number that is ignored, and the classes' numbers."""
    ignored = [number for number, name in named.items() if name.lower() == "ignore"]
    numbers = tuple(sorted(number for number in named if number not in ignored))
    if not numbers or numbers[0] != 0 or len(ignored) > 1:
        raise UserError(f"{path}: expected labels 0 and above, received {sorted(named)}")
    names = tuple(named[number] for number in numbers[1:])
    return names, ignored[0] if ignored else None, numbers[1:]


def _bids_maps(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("sub-*_dseg.nii*") if path.is_file())


def _bids_case(folder: Path, labels: Path) -> CaseFiles:
    """Find the image of a label map: every entity of its name is one of the label map's."""
    entities = _entities(labels)
    subject = f"sub-{entities['sub']}"
    candidates = [
        path
        for path in sorted(folder.rglob(f"{subject}_*.nii*"))
        if case_name(path).rpartition("_")[2] not in _SEGMENTATIONS
        and _entities(path).items() <= entities.items()
    ]
    suffixes = {case_name(path).rpartition("_")[2] for path in candidates}
    # A label map of several contrasts may name its own: sub-01_T1w_dseg, or label-T1w.
    told = [one for one in suffixes if f"_{one}_" in labels.name]
    candidates = [p for p in candidates if not told or case_name(p).endswith(told[0])]
    nearest = max((len(_entities(path)) for path in candidates), default=0)
    candidates = [path for path in candidates if len(_entities(path)) == nearest]
    if len(candidates) != 1:
        names = ", ".join(path.name for path in candidates[:3]) or "none"
        raise UserError(f"{labels}: expected one image of its entities, received {names}")
    return CaseFiles(case_name(labels).rpartition("_")[0], candidates[0], labels)


def _entities(path: Path) -> dict[str, str]:
    """Entities of a name that tell which scan it is: `{"sub": "01", "ses": "1"}`."""
    pairs = (part.partition("-")[::2] for part in case_name(path).split("_") if "-" in part)
    return {key: value for key, value in pairs if key not in _MADE}


def _bids_names(folder: Path) -> tuple[tuple[str, ...], int | None, tuple[int, ...]]:
    tables = sorted(folder.rglob("*dseg.tsv"))
    if not tables:
        return (), None, ()
    return _named({0: "background", **load_label_names(tables[0])}, tables[0])
