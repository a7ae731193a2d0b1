"""The picture of an evaluation: best, median and worst case."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyvox_keras._errors import UserError


def save_picture(
    path: Path,
    cases: Sequence[Sequence[Any]],
    pairs: Sequence[tuple[Path, Path]],
    images: Path,
    overwrite: bool,
) -> None:
    """Draw three cases by their mean Dice.

    Args:
        path: Of the picture.
        cases: Scores of each case, in the order of `pairs`.
        pairs: Files of prediction and truth.
        images: Folder of images named as the predictions.
        overwrite: Whether an existing picture is replaced.
    """
    from anyvox_keras.io import case_name, load_labels, load_volume
    from anyvox_keras.pictures import CasePicture, cases_picture, save_figure
    from anyvox_keras.segmentation import mean_score

    known = [place for place, case in enumerate(cases) if not np.isnan(mean_score([case]))]
    if not known:
        raise UserError(f"{path}: expected a case with labels to draw, received none")
    order = sorted(known, key=lambda place: -mean_score([cases[place]]))
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    rows = []
    for what, place in chosen.items():
        found, expected = (load_labels(file) for file in pairs[place])
        image = load_volume(images / pairs[place][0].name)
        title = f"{what}: {case_name(pairs[place][0])}, Dice {mean_score([cases[place]]):.3f}"
        rows.append(CasePicture(title, image.array, found.array, expected.array, image.grid))
    save_figure(cases_picture(rows), path, overwrite)
