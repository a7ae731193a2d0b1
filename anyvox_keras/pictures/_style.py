"""One look for all pictures: dark, quiet, no frames."""

import os
from typing import Any

import numpy as np

from anyvox_keras.io.output import atomic, check_output

BACKGROUND = "#0d1117"
TEXT = "#e6edf3"
MUTED = "#8b949e"
ACCENT = "#58a6ff"
ALARM = "#f778ba"
#: shrinking, unchanged, growing
DIVERGING = ("#a5d8ff", "#1f6feb", "#161b22", "#d9480f", "#ffd8a8")


def new_figure(width: float, height: float) -> Any:
    """Return an empty dark figure, inches, that needs no display and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def add_panel(figure: Any, box: tuple[float, float, float, float]) -> Any:
    """Return axes without ticks or frame; `box` is left, top, width, height in inches."""
    width, height = figure.get_size_inches()
    left, top, wide, high = box
    axes = figure.add_axes(
        (left / width, 1 - (top + high) / height, wide / width, high / height), facecolor=BACKGROUND
    )
    axes.set_axis_off()
    return axes


def add_text(figure: Any, left: float, top: float, text: str, **style: Any) -> None:
    """Write at a place given in inches from the top left corner."""
    width, height = figure.get_size_inches()
    style = {"color": TEXT, "fontsize": 9, "va": "center", **style}
    figure.text(left / width, 1 - top / height, text, **style)


def save_figure(
    figure: Any, path: str | os.PathLike[str], overwrite: bool = False, dpi: int = 150
) -> None:
    """Write a figure as PNG (or what the ending says); the file appears whole.

    Raises:
        UserError: the file exists and `overwrite` is false, or its folder cannot be written.
    """
    with atomic(check_output(path, overwrite)) as temporary:
        figure.savefig(temporary, dpi=dpi, facecolor=figure.get_facecolor())


def label_colours(count: int) -> np.ndarray:
    """Return `(count, 3)` colours, black for 0; neighbours in number differ in hue."""
    from matplotlib.colors import hsv_to_rgb

    index = np.arange(count)
    # the golden ratio spreads any number of hues evenly
    hue = (0.55 + index * 0.61803398875) % 1
    saturation = np.where(index % 2, 0.55, 0.75)
    colours: np.ndarray = hsv_to_rgb(np.stack([hue, saturation, np.full(count, 0.95)], -1))
    colours[:1] = 0
    return colours
