"""Curves of a training, drawn from the rows of its log."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anyvox_keras.pictures.drawing import LINES, new_figure, style

#: columns of a log that are no metric
_FACTS = {"step", "pairs", "learning_rate", "pairs_per_second"}
_VALIDATION = "val_"
# lines of a panel that a legend is written for
_LEGEND = 6


def curves_picture(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Draw every metric of a log by step: lines while training, points where it was validated.

    Metrics of one first word share a panel: `dice`, thick, and `dice_1`, `dice_2`, thin.

    Args:
        rows: of `log.csv`: `step`, metrics by name, and those of validations after `val_`. What is
            empty or not finite is left out.

    Returns:
        A matplotlib `Figure`.

    Example:
        ```python
        >>> figure = curves_picture([{"step": 1, "loss": 0.9}, {"step": 2, "loss": 0.7}])
        ```
    """
    from matplotlib import rc_context

    rows = list(rows)
    panels = _panels(rows)
    with rc_context(style()):
        figure = new_figure(4.2 * max(len(panels), 1), 3.2)
        figure.set_layout_engine("constrained")
        places = figure.subplots(1, max(len(panels), 1), squeeze=False)[0]
        for place, (title, names) in zip(places, panels.items(), strict=False):
            _draw(place, rows, title, names)
    return figure


def _panels(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Names of metrics by their first word, in the order of the columns."""
    panels: dict[str, list[str]] = {}
    for row in rows:
        for name in row:
            metric = name.removeprefix(_VALIDATION)
            group = panels.setdefault(metric.split("_")[0], []) if metric not in _FACTS else None
            if group is not None and metric not in group:
                group.append(metric)
    return panels


def _draw(place: Any, rows: Sequence[Mapping[str, Any]], title: str, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        looks = {"color": LINES[number % len(LINES)], "linewidth": 2.0 if name == title else 1.0}
        for column, label, line in (
            (name, name, "-"),
            (_VALIDATION + name, f"{name}, validation", "o:"),
        ):
            if points := list(_points(rows, column)):
                place.plot(*zip(*points, strict=True), line, markersize=4, label=label, **looks)
    place.set(title=title, xlabel="step")
    place.grid(alpha=0.25)
    if 1 < len(place.lines) <= _LEGEND:
        place.legend(fontsize=8)


def _points(rows: Sequence[Mapping[str, Any]], column: str) -> Iterable[tuple[int, float]]:
    for row in rows:
        text = row.get(column)
        if text not in (None, "") and math.isfinite(value := float(text)):
            yield int(row["step"]), value
