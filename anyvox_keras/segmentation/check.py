"""What is wrong with a data set, before an hour is spent on it."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import require_same_grid
from anyvox_keras.io import load_labels
from anyvox_keras.segmentation.dataset import CaseFiles, Dataset
from anyvox_keras.segmentation.scan import read_scan

# a structure of fewer voxels is lost by a nearest label, or by a pooling
_FEW = 30
# largest ratio of voxel sizes that goes without a word
_SPREAD = 1.5


class Finding(NamedTuple):
    """Something about a data set.

    Attributes:
        grave: Whether training would refuse it, or learn something false.
        where: A case, or `""` for the whole set.
        what: One sentence.
    """

    grave: bool
    where: str
    what: str


class _Facts(NamedTuple):
    """What is kept of a case that could be read."""

    files: CaseFiles
    spacing: tuple[float, ...]
    voxels: dict[int, int]
    digest: str
    lacking: int


def check_dataset(dataset: Dataset) -> Iterator[Finding]:
    """Look at every case, and at them together.

    Grave are files that cannot be used, label maps on another grid, labels that are no class,
    classes that no training case has, empty label maps in training, and a scan that is among both
    training and validation cases. Worth a word are structures of few voxels, voxel sizes that
    differ, missing channels and cases that occur twice.

    Args:
        dataset: As of `read_dataset`.

    Yields:
        What was found, case after case, then of the set.

    Example:
        ```python
        from anyvox_keras.segmentation import CaseFiles, Dataset, check_dataset

        lost = CaseFiles("a", "nowhere.nii.gz", "nowhere.nii.gz")
        [finding] = list(check_dataset(Dataset([lost], ())))[:1]
        print(finding.where, finding.what)
        ```
    """
    parts: list[list[_Facts]] = []
    for cases in (dataset.training, dataset.validation):
        known = []
        for files in cases:
            facts = _facts(files)
            if isinstance(facts, Finding):
                yield facts
                continue
            yield from _of_case(facts, dataset, training=cases is dataset.training)
            known.append(facts)
        parts.append(known)
    training, validation = parts
    yield from _of_set(training, validation, dataset)


def _facts(files: CaseFiles) -> _Facts | Finding:
    try:
        scan, labels = read_scan(files.scan), load_labels(files.labels)
        require_same_grid(labels, scan.volume)
    except UserError as error:
        return Finding(True, files.name, str(error))
    numbers, counts = np.unique(labels.array[labels.array > 0], return_counts=True)
    return _Facts(
        files,
        scan.volume.grid.to_ras(None).spacing,
        dict(zip(numbers.tolist(), counts.tolist(), strict=True)),
        hashlib.sha256(scan.volume.array.tobytes()).hexdigest(),
        sum(channel is None for channel in scan.channels),
    )


def _of_case(facts: _Facts, dataset: Dataset, training: bool) -> Iterator[Finding]:
    name, present = facts.files.name, facts.voxels
    if not present:
        yield Finding(training, name, "its label map is empty")
    known = {*dataset.numbers, dataset.ignore}
    if dataset.numbers and (beyond := sorted(set(present) - known)):
        numbers = ", ".join(map(str, dataset.numbers))
        yield Finding(True, name, f"label {beyond[0]} is none of {numbers}")
    few = {n: count for n, count in present.items() if count < _FEW and n != dataset.ignore}
    for number, count in few.items():
        yield Finding(False, name, f"label {number} has only {count} voxels")
    if facts.lacking:
        yield Finding(
            False, name, f"{facts.lacking} of {len(facts.files.channels)} channels are missing"
        )


def _of_set(
    training: Sequence[_Facts], validation: Sequence[_Facts], dataset: Dataset
) -> Iterator[Finding]:
    found = {number for facts in training for number in facts.voxels}
    for number, name in zip(dataset.numbers, dataset.classes, strict=False):
        if number not in found:
            yield Finding(True, "", f"no training case has label {number} ({name})")
    seen: dict[str, str] = {}
    for facts in training:
        first = seen.setdefault(facts.digest, facts.files.name)
        if first != facts.files.name:
            yield Finding(False, facts.files.name, f"is the same image as {first}")
    for facts in validation:
        if facts.digest in seen:
            where = facts.files.name
            yield Finding(True, where, f"is the same image as training case {seen[facts.digest]}")
    spacings = [facts.spacing for facts in [*training, *validation]]
    if spacings and (np.max(spacings, 0) / np.min(spacings, 0)).max() > _SPREAD:
        low, high = (" x ".join(f"{mm:.3g}" for mm in end) for end in
                     (np.min(spacings, 0), np.max(spacings, 0)))  # fmt: skip
        what = f"voxels of {low} to {high} mm: all scans are resampled to the median voxel size"
        yield Finding(False, "", what)
    if not dataset.validation and len(dataset.training) < 5:
        what = f"{len(dataset.training)} cases and no imagesVal: the last weights are kept"
        yield Finding(False, "", what)
