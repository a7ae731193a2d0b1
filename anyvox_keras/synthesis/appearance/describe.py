"""A pipeline as a table."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

#: Step, layer, probability and what is drawn, by name.
Row = tuple[str, str, float, Mapping[str, str]]


def describe(title: str, rows: Iterable[Row]) -> str:
    """Describe the steps of a pipeline as a table.

    Args:
        title: Heading.
        rows: The steps in order.

    Returns:
        The table as plain text.
    """
    table = Table("step", "layer", "probability", "drawn", title=title)
    for step, layer, probability, drawn in rows:
        named = ", ".join(f"{name} {value}" for name, value in drawn.items())
        table.add_row(step, layer, f"{probability:.3g}", named)
    console = Console(width=110, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def rows_of(steps: Mapping[str, Any]) -> list[Row]:
    """Make the rows of layers that tell their `ranges()`."""
    return [
        (name, type(layer).__name__, getattr(layer, "probability", 1.0), layer.ranges())
        for name, layer in steps.items()
    ]
