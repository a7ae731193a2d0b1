"""How good a network is on whole volumes."""

from collections.abc import Sequence

import numpy as np

from anyvox_keras.segmentation.case import Case
from anyvox_keras.segmentation.dice_cross_entropy import SMOOTH
from anyvox_keras.segmentation.predictor import Predictor


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
