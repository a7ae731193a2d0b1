"""Outlines of labels over an image."""

from typing import Any

import numpy as np

from anyvox_keras.pictures._planes import Cut
from anyvox_keras.pictures._style import label_colours


def label_contours(
    axes: Any,
    cut: Cut,
    labels: np.ndarray,
    axis: int,
    colour: str | None = None,
    width: float = 0.7,
) -> None:
    """Draw the outline of every label of a plane, each in its colour or all in one.

    Args:
        axes: axes in mm, as `add_plane` makes them.
        cut: where the planes lie.
        labels: `(D, H, W)` integers; 0 has no outline.
        axis: which plane, by the R, A, S axis it cuts.
        colour: one colour for all labels; the default is one colour per label.
        width: width of the line in points.
    """
    plane = cut.plane(labels, axis)
    colours = label_colours(int(labels.max(initial=0)) + 1)
    # a border of background closes outlines at the picture's edge
    left, right, bottom, top = cut.extent(axis)
    dy, dx = (top - bottom) / plane.shape[0], (right - left) / plane.shape[1]
    x = left + dx * (np.arange(plane.shape[1] + 2) - 0.5)
    y = bottom + dy * (np.arange(plane.shape[0] + 2) - 0.5)
    for label in np.unique(plane[plane > 0]):
        shape = np.pad(plane == label, 1).astype("float32")
        line = colour or tuple(colours[label])
        axes.contour(x, y, shape, levels=[0.5], colors=[line], linewidths=width)
