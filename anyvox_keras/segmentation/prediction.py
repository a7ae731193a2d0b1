"""What a network found in a scan, and how large each structure is, in a table that grows."""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anyvox_keras.geometry import Volume
from anyvox_keras.glance import Glance
from anyvox_keras.io import atomic, read_table


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Volume):
    """A label map that remembers the scan it was found in: both are shown together.

    Args:
        image: The scan, on the label map's grid.
        names: What the labels are called.
        confidence: The Dice that the network's probabilities expect of each label found, in [0, 1]:
            `2 sum p [found] / (sum p + sum [found])` on the working grid.

    Example:
        ```python
        >>> image = np.random.default_rng(0).normal(size=(8, 8, 8)).astype("float32")
        >>> found = Prediction((image > 0).astype("int32"), np.eye(4), image=image)
        >>> found.glance().facts[-1][0]
        'label 1, ml'
        ```
    """

    image: np.ndarray | None = None
    names: dict[int, str] = field(default_factory=dict)
    confidence: dict[int, float] = field(default_factory=dict)

    def glance(self) -> Glance:
        """The scan with the outlines of the labels, and the volume of each."""
        voxel = float(np.prod(self.spacing)) / 1000
        facts = [
            (f"{self.names.get(int(label), f'label {label}')}, ml", float(count * voxel))
            for label, count in zip(*np.unique(self.array, return_counts=True), strict=True)
            if label > 0
        ]
        own = super().glance()
        if self.image is None:
            return own
        return Glance(
            own.title, [*own.facts, *facts], {own.title: self.image}, self.affine, self.array,
            self.names,
        )  # fmt: skip


class LabelVolume(NamedTuple):
    """A label of a case.

    Attributes:
        case: Name of the case.
        label: Number in the label map.
        name: What it is called.
        ml: Its volume.
        confidence: As of `Prediction`; NaN for a label that was not found.
    """

    case: str
    label: int
    name: str
    ml: float
    confidence: float


def label_volumes(case: str, found: Prediction, names: Mapping[int, str]) -> list[LabelVolume]:
    """Measure every label of a case, those of `names` that it lacks too.

    Args:
        case: Its name.
        found: What a `Predictor` returns.
        names: What the labels are called.

    Example:
        ```python
        >>> box = Prediction(np.ones((10, 10, 10), "int32"), np.eye(4), confidence={1: 0.9})
        >>> label_volumes("a", box, {1: "box"})
        [LabelVolume(case='a', label=1, name='box', ml=1.0, confidence=0.9)]
        ```
    """
    voxel = abs(float(np.linalg.det(found.affine[:3, :3]))) / 1000
    counts = dict(zip(*np.unique(found.array, return_counts=True), strict=True))
    return [
        LabelVolume(
            case,
            int(label),
            names.get(int(label), f"label {label}"),
            round(float(counts.get(label, 0) * voxel), 4),
            round(found.confidence.get(int(label), float("nan")), 4),
        )
        for label in sorted({*names, *counts} - {0})
    ]


def save_volumes(path: str | os.PathLike[str], rows: Sequence[LabelVolume]) -> None:
    """Write a CSV: `case,label,name,ml,confidence`; rows of other cases that it held stay.

    Args:
        path: The file.
        rows: Labels of cases.

    Raises:
        UserError: What is there is no such table.
    """
    path, columns = Path(path), LabelVolume._fields
    cases = {row.case for row in rows}
    held = read_table(path, "label", columns) if path.exists() else []
    kept = [row for _, row in held if row["case"] not in cases]
    told = [dict(zip(columns, row, strict=True)) for row in rows]
    for row in told:
        if row["confidence"] != row["confidence"]:
            del row["confidence"]
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows([*kept, *told])


def least_certain(rows: Sequence[LabelVolume]) -> str:
    """Return the case whose mean confidence is lowest; one without any label is that.

    Example:
        ```python
        >>> row = LabelVolume("a", 1, "heart", 3.0, 0.9)
        >>> least_certain([row, row._replace(case="b", confidence=0.4)])
        'b'
        ```
    """
    cases: dict[str, list[float]] = {}
    for row in rows:
        cases.setdefault(row.case, []).append(np.nan_to_num(row.confidence))
    return min(cases, key=lambda case: float(np.mean(cases[case])))
