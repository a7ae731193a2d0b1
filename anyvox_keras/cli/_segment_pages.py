"""Pages and pictures of segmentations: a label map on its image; the scores of many."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyvox_keras import io, pictures, segmentation
from anyvox_keras.cli._options import command_line
from anyvox_keras.errors import UserError


def class_names(run: Path) -> dict[int, str]:
    """What a run calls its classes, if it says so."""
    path = run / "classes.json"
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    numbers = found.get("numbers") or range(1, len(found["classes"]) + 1)
    return dict(zip(numbers, found["classes"], strict=True))


def save_prediction_page(path: Path, image: Any, found: Any, names: dict[int, str]) -> None:
    """Write a page of an image and its labels, with volume and confidence of each.

    Args:
        path: The page.
        image: The `Volume`.
        found: The `Prediction` of it.
        names: What the labels are called.
    """
    rows = [
        (row.name, row.label, row.ml, row.confidence)
        for row in segmentation.label_volumes("", found, names)
        if row.label in found.confidence
    ]
    page = pictures.Page(
        f"Labels of {Path(image.name).name}",
        f"{len(rows)} labels; not a medical device, not for diagnosis",
        tables=[
            pictures.Table("Volumes", ("label", "number", "ml", "confidence"), rows,
                           "Confidence: the Dice that the network's probabilities expect."),
            *pictures.made_with_tables(io.provenance_of({"image": image.name})),
        ],
        viewer=pictures.Viewer(image.grid, {"image": image.array}, {"labels": found.array}, names),
        picture=pictures.planes(image.array, image.grid, labels=found.array),
        command=command_line(),
    )  # fmt: skip
    io.save_page(path, page.html())


def save_scores_page(
    path: Path,
    cases: Sequence[Sequence[Any]],
    pairs: Sequence[tuple[Path, Path]],
    images: Path,
    figure: Any,
) -> None:
    """Write a page of all scores, the worst first, and the worst case to look through.

    Args:
        path: The page.
        cases: Scores of each case, in the order of `pairs`.
        pairs: Files of prediction and truth.
        images: Folder of images named as the predictions.
        figure: The best, the median and the worst case.
    """
    means = [segmentation.mean_score([case]) for case in cases]
    worst = int(np.nanargmin(means))
    image, found, expected = _case(pairs[worst], images)
    rows = [
        (score.case, score.label, score.dice,
         score.hd95_mm if math.isfinite(score.hd95_mm) else None)
        for case in cases for score in case
    ]  # fmt: skip
    rows.sort(key=lambda row: math.inf if math.isnan(row[2]) else row[2])
    files = {f"{k}_{what}": file for k, pair in enumerate(pairs)
             for what, file in zip(("found", "true"), pair, strict=True)}  # fmt: skip
    page = pictures.Page(
        f"{len(cases)} segmentations",
        f"mean Dice {segmentation.mean_score(cases):.4f}; shown: {cases[worst][0].case}, the "
        f"worst, {means[worst]:.4f}",
        tables=[
            pictures.Table("Scores, worst first", ("case", "label", "Dice", "HD95, mm"), rows,
                           "An empty cell: one of the two maps, or both, lack the label."),
            *pictures.made_with_tables(io.provenance_of(files)),
        ],
        viewer=pictures.Viewer(
            image.grid,
            {"image": image.array},
            {"labels, found": found.array, "labels, true": expected.array},
        ),
        picture=figure,
        command=command_line(),
    )  # fmt: skip
    io.save_page(path, page.html())


def save_picture(
    path: Path,
    cases: Sequence[Sequence[Any]],
    pairs: Sequence[tuple[Path, Path]],
    images: Path,
    overwrite: bool,
) -> Any:
    """Draw three cases by their mean Dice.

    Args:
        path: Of the picture.
        cases: Scores of each case, in the order of `pairs`.
        pairs: Files of prediction and truth.
        images: Folder of images named as the predictions.
        overwrite: Whether an existing picture is replaced.
    """
    means = [segmentation.mean_score([case]) for case in cases]
    known = [place for place, mean in enumerate(means) if not math.isnan(mean)]
    if not known:
        raise UserError(f"{path}: expected a case with labels to draw, received none")
    order = sorted(known, key=lambda place: -means[place])
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    rows = []
    for what, place in chosen.items():
        image, found, expected = _case(pairs[place], images)
        title = f"{what}: {io.case_name(pairs[place][0])}, Dice {means[place]:.3f}"
        arrays = image.array, found.array, expected.array
        rows.append(pictures.CasePicture(title, *arrays, image.grid))
    figure = pictures.cases_picture(rows)
    pictures.save_figure(figure, path, overwrite)
    return figure


def _case(files: tuple[Path, Path], images: Path) -> tuple[Any, Any, Any]:
    """The image of a case, the label map that was found, and the true one."""
    found, expected = (io.load_labels(file) for file in files)
    return io.load_volume(images / files[0].name), found, expected
