"""The page that a registration report is drawn on."""

from typing import Any

import numpy as np

from anyvox_keras.pictures._planes import PLANES, Cut
from anyvox_keras.pictures._style import MUTED, add_panel, add_text, new_figure

#: inches between panels, above and below them
GAP, HEAD, FOOT = 0.06, 0.95, 0.55


def report_page(cut: Cut, columns: int, width: float = 2.1) -> tuple[Any, list[list[Any]]]:
    """Return a figure and the boxes of its panels, by column, to one scale in mm."""
    sizes = [cut.size(axis) for _, axis, _ in PLANES]
    scale = width / max(wide for wide, _ in sizes)
    tops = HEAD + np.concatenate([[0], np.cumsum([high * scale + GAP for _, high in sizes])])
    figure = new_figure(columns * (width + GAP) + GAP, float(tops[-1]) + FOOT)
    boxes = []
    for column in range(columns):
        left = GAP + column * (width + GAP)
        boxes.append(
            [
                (left + (width - wide * scale) / 2, float(top), wide * scale, high * scale)
                for (wide, high), top in zip(sizes, tops[:-1], strict=True)
            ]
        )
    return figure, boxes


def colour_bar(figure: Any, drawn: Any, box: Any, logarithmic: bool) -> None:
    """Draw a colour bar below a panel, with three ticks."""
    left, top, wide, high = box
    axes = add_panel(figure, (left + 0.15 * wide, top + high + 0.12, 0.7 * wide, 0.07))
    axes.set_axis_on()
    bar = figure.colorbar(drawn, cax=axes, orientation="horizontal")
    bar.outline.set_visible(False)
    low, top_value = bar.mappable.get_clim()
    ticks = [low, 1, top_value] if logarithmic else [0, top_value / 2, top_value]
    bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
    bar.ax.minorticks_off()
    bar.ax.tick_params(colors=MUTED, labelsize=7, length=0, pad=2)


def report_words(figure: Any, title: str, summary: str) -> None:
    """Write the title, the results, and how to read the page."""
    height = figure.get_size_inches()[1]
    add_text(figure, 2 * GAP, 0.28, title, fontsize=13, fontweight="bold")
    add_text(figure, 2 * GAP, 0.56, summary, color=MUTED)
    add_text(
        figure,
        2 * GAP,
        height - 0.22,
        "Radiological: the patient's right, and the front in the last row, is on the left. "
        "White outlines are the fixed labels; pink marks folds.",
        color=MUTED,
        fontsize=7,
    )
