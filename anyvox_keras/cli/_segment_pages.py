"""Pages of segmentations: a label map on its image; the scores of many."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyvox_keras.cli._options import command_line


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
    from anyvox_keras.io import provenance_of, save_page
    from anyvox_keras.pictures import Page, Table, Viewer, made_with_tables, planes
    from anyvox_keras.segmentation import label_volumes

    rows = [
        (row.name, row.label, row.ml, row.confidence)
        for row in label_volumes("", found, names)
        if row.label in found.confidence
    ]
    page = Page(
        f"Labels of {Path(image.name).name}",
        f"{len(rows)} labels; not a medical device, not for diagnosis",
        tables=[
            Table("Volumes", ("label", "number", "ml", "confidence"), rows,
                  "Confidence: the Dice that the network's probabilities expect."),
            *made_with_tables(provenance_of({"image": image.name})),
        ],
        viewer=Viewer(image.grid, {"image": image.array}, {"labels": found.array}, names),
        picture=planes(image.array, image.grid, labels=found.array),
        command=command_line(),
    )  # fmt: skip
    save_page(path, page.html())


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
    from anyvox_keras.io import load_labels, load_volume, provenance_of, save_page
    from anyvox_keras.pictures import Page, Table, Viewer, made_with_tables
    from anyvox_keras.segmentation import mean_score

    means = [mean_score([case]) for case in cases]
    worst = int(np.nanargmin(means))
    found, expected = (load_labels(file) for file in pairs[worst])
    image = load_volume(images / pairs[worst][0].name)
    rows = [
        (score.case, score.label, score.dice,
         score.hd95_mm if math.isfinite(score.hd95_mm) else None)
        for case in cases for score in case
    ]  # fmt: skip
    rows.sort(key=lambda row: math.inf if math.isnan(row[2]) else row[2])
    files = {f"{k}_{what}": file for k, pair in enumerate(pairs)
             for what, file in zip(("found", "true"), pair, strict=True)}  # fmt: skip
    page = Page(
        f"{len(cases)} segmentations",
        f"mean Dice {mean_score(cases):.4f}; shown: {cases[worst][0].case}, the worst, "
        f"{means[worst]:.4f}",
        tables=[
            Table("Scores, worst first", ("case", "label", "Dice", "HD95, mm"), rows,
                  "An empty cell: one of the two maps, or both, lack the label."),
            *made_with_tables(provenance_of(files)),
        ],
        viewer=Viewer(
            image.grid,
            {"image": image.array},
            {"labels, found": found.array, "labels, true": expected.array},
        ),
        picture=figure,
        command=command_line(),
    )  # fmt: skip
    save_page(path, page.html())
