"""Segmented cases, one per row."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from anyvox_keras.geometry.grid import Grid
from anyvox_keras.pictures import drawing


class CasePicture(NamedTuple):
    """A row of the picture: an image, the labels found and the true ones, on one grid."""

    title: str
    image: np.ndarray
    found: np.ndarray
    expected: np.ndarray
    grid: Grid


def cases_picture(cases: Sequence[CasePicture], width: float = 2.4) -> Any:
    """Draw axial, coronal and sagittal planes of cases, one per row, through their labels' centre.

    Args:
        cases: the cases to show, such as the best, the median and the worst.
        width: width of a plane's box in inches.

    Returns:
        A matplotlib `Figure`; `save_figure` writes it.

    Example:
        ```python
        >>> box = np.pad(np.ones((4, 4, 4), int), 2)
        >>> row = CasePicture("a", box * 1.0, box, box, Grid((8, 8, 8), np.eye(4)))
        >>> len(cases_picture([row]).axes)
        3
        ```
    """
    gap, head, foot = 0.08, 0.3, 0.3
    figure = drawing.new_figure(3 * (width + gap) + gap, len(cases) * (width + head) + foot)
    for row, case in enumerate(cases):
        cut = drawing.Cut.of(case.grid, _centre(case.expected))
        top = row * (width + head) + head
        drawing.add_text(figure, gap, top - head / 2, case.title)
        scale = width / max(max(cut.size(axis)) for _, axis, _ in drawing.PLANES)
        for column, (_, axis, _) in enumerate(drawing.PLANES):
            wide, high = (side * scale for side in cut.size(axis))
            left = gap + column * (width + gap) + (width - wide) / 2
            axes = drawing.add_plane(
                figure, (left, top + (width - high) / 2, wide, high), cut, axis
            )
            drawing.show(axes, cut, drawing.window(case.image), axis)
            drawing.label_contours(axes, cut, case.expected, axis, colour=drawing.TEXT, width=0.45)
            drawing.label_contours(axes, cut, case.found, axis, width=1.0)
    height = figure.get_size_inches()[1]
    words = "White outlines are the true labels, colours those found. R, A on the left."
    drawing.add_text(figure, gap, height - foot / 2, words, color=drawing.MUTED, fontsize=7)
    return figure


def _centre(labels: np.ndarray) -> list[int] | None:
    """Return the middle of the labels, so that the planes meet them."""
    places = np.nonzero(labels)
    return [round(float(axis.mean())) for axis in places] if places[0].size else None
