"""Dice and HD95 of every case, and the loss that validation is judged by."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Volume, require_same_grid
from anyvox_keras.io import atomic, by_case, case_name, check_output, list_images, load_labels
from anyvox_keras.metrics import dice, hd95
from anyvox_keras.segmentation.dataset import Case
from anyvox_keras.segmentation.dice import SMOOTH
from anyvox_keras.segmentation.predictor import Predictor

COLUMNS = ("case", "label", "dice", "hd95_mm")


class Score(NamedTuple):
    """How well one label of one case was found.

    `dice` is NaN for a label that neither map holds, `hd95_mm` then too, and infinite where one
    map lacks it.
    """

    case: str
    label: int
    dice: float
    hd95_mm: float


def pair_files(
    predictions: str | os.PathLike[str], labels: str | os.PathLike[str]
) -> list[tuple[Path, Path]]:
    """Join the label maps of two folders by name.

    Raises:
        UserError: An absent or empty folder, two files of one case, a prediction without labels,
            or labels without a prediction, which a mean would leave out without a word.
    """
    truth, found = by_case(list_images([labels])), by_case(list_images([predictions]))
    for name, path in found.items():
        if name not in truth:
            raise UserError(f"{path}: expected a label map of that name in {labels}, received none")
    if missing := [name for name in truth if name not in found]:
        names = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        raise UserError(
            f"{predictions}: expected a prediction of each of the {len(truth)} label maps in "
            f"{labels}; {len(missing)} are missing: {names}"
        )
    return [(path, truth[name]) for name, path in found.items()]


def evaluate(
    pairs: Iterable[tuple[Path, Path]], labels: Sequence[int] | None = None
) -> Iterator[list[Score]]:
    """Score case after case.

    Args:
        pairs: Files of prediction and truth.
        labels: Which labels count; the default is every label above 0 in the case.

    Yields:
        The scores of a case, a label each.

    Raises:
        UserError: A file that can't be used, labels that are not integers, other grids.
    """
    for prediction, truth in pairs:
        found, expected = load_labels(prediction), load_labels(truth)
        require_same_grid(found, expected)
        yield score_case(case_name(prediction), found, expected, labels)


def score_case(
    name: str, found: Volume, expected: Volume, labels: Sequence[int] | None = None
) -> list[Score]:
    """Score two label maps of one grid.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.geometry import Volume
        from anyvox_keras.segmentation import score_case

        box = Volume(np.ones((4, 4, 4), "int32"), np.eye(4))
        score_case("a", box, box)  # [Score(case="a", label=1, dice=1.0, hd95_mm=0.0)]
        ```
    """
    overlap = dice(found.array, expected.array, labels)
    distance = hd95(found.array, expected.array, expected.spacing, labels)
    return [Score(name, label, overlap[label], distance[label]) for label in overlap]


def save_scores(
    path: str | os.PathLike[str], cases: Sequence[Sequence[Score]], overwrite: bool = False
) -> None:
    """Write a CSV: `case,label,dice,hd95_mm`, a row for each label of each case.

    Raises:
        UserError: The file exists and `overwrite` is false, or its folder cannot be written.
    """
    with (
        atomic(check_output(path, overwrite)) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(score for case in cases for score in case)


def mean_score(cases: Iterable[Sequence[Score]]) -> float:
    """Mean Dice over all labels of all cases that held them; NaN if none did."""
    values = [score.dice for case in cases for score in case if not np.isnan(score.dice)]
    return float(np.mean(values)) if values else float("nan")


def validate(
    predictor: Predictor, cases: Sequence[Case], ignore_label: int | None = None
) -> dict[str, float]:
    """Segment cases whole, by sliding windows, and compare with their labels.

    Args:
        predictor: Of the network.
        cases: On the working grid.
        ignore_label: Voxels of this label count nowhere.

    Returns:
        `loss`, the mean over cases of the soft Dice loss of the foreground classes; `dice_1`,
        `dice_2` ..., mean Dice over the cases that hold the class; and `dice`, their mean.
    """
    sums = np.stack([_sums(predictor, case, ignore_label) for case in cases])
    soft, hard = sums[:, :2], sums[:, 2:]
    loss = 1 - (2 * soft[:, 0] + SMOOTH) / (soft[:, 1] + SMOOTH)
    with np.errstate(invalid="ignore"):
        dice = 2 * hard[:, 0] / hard[:, 1]
    # A class absent from a case, and from its prediction, says nothing.
    known = ~np.isnan(dice)
    means = np.where(known, dice, 0).sum(0) / np.maximum(known.sum(0), 1)
    scores = {f"dice_{label}": float(mean) for label, mean in enumerate(means, 1)}
    return {"loss": float(loss.mean()), "dice": float(means.mean()), **scores}


def _sums(predictor: Predictor, case: Case, ignore_label: int | None) -> np.ndarray:
    """Sum per foreground class `p g` and `p + g`, softly and of the likeliest class."""
    classes = predictor.segmenters[0].classes + 1
    total = np.zeros((4, classes - 1))
    start = 0
    for slab in predictor.slabs(case.image):
        labels = case.label_map[start : start + len(slab)]
        start += len(slab)
        counts = np.ones(labels.shape, bool) if ignore_label is None else labels != ignore_label
        g, p = np.eye(classes)[np.where(counts, labels, 0)[counts]], slab[counts]
        hard = np.eye(classes)[p.argmax(-1)]
        sums = [g * p, g + p, g * hard, g + hard]
        total += np.stack([part.sum(0)[1:] for part in sums])
    return total
