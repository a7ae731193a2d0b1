"""A pipeline as a table."""

from typing import Any

from rich.console import Console
from rich.table import Table


def describe(title: str, steps: dict[str, Any]) -> str:
    """Lay out steps as a table: name, layer, probability, ranges of the draws.

    Args:
        title: Heading.
        steps: Layers by name, in order; each tells its ranges by `describe()`.

    Returns:
        The table as plain text.
    """
    table = Table("step", "layer", "probability", "drawn", title=title)
    for name, layer in steps.items():
        drawn = ", ".join(f"{key} {value}" for key, value in layer.describe().items())
        probability = f"{getattr(layer, 'probability', 1.0):g}"
        table.add_row(name, type(layer).__name__, probability, drawn)
    console = Console(width=110, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
