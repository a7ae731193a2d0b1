"""The results of many pairs: one table to read, one file to sort."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: column of the table -> of `metrics.csv`, and its digits
SHOWN = {
    "Dice before": ("mean_dice_before", 4),
    "after": ("mean_dice_after", 4),
    "folds (%)": ("folds_percent", 4),
    "seconds": ("seconds", 1),
}
COLUMNS = (
    "pair", "verdict", "reasons", "mean_dice_before", "mean_dice_after", "mean_hd95_before",
    "mean_hd95_after", "tre_mm_before", "tre_mm_after", "folds_percent", "sd_log_jacobian",
    "seconds",
)  # fmt: skip


def read_result(folder: Path) -> dict[str, Any]:
    """Return a pair's row of `metrics.csv`; no verdict where it was not registered."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row["pair"] = folder.name
    if not (folder / "metrics.json").exists():
        return row
    try:
        found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        # results of before there were verdicts are to be looked at
        quality = found.get("quality") or {"verdict": "WARN", "reasons": ["no verdict"]}
        row |= {"verdict": quality["verdict"], "reasons": "; ".join(quality["reasons"])}
    except (ValueError, AttributeError):
        return row  # damaged, or another program's: the pair is registered anew
    for name in ("folds_percent", "sd_log_jacobian", "seconds"):
        row[name] = found.get(name)
    for name in ("mean_dice", "mean_hd95", "tre_mm"):
        for when in ("before", "after"):
            row[f"{name}_{when}"] = (found.get(name) or {}).get(when)
    return row


def write_results(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write one row a pair."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(results)


def show_results(results: Sequence[dict[str, Any]]) -> None:
    """Print a table of all pairs, those of earlier runs included, and of their means."""
    from rich.console import Console
    from rich.table import Table

    table = Table("pair", "verdict", *SHOWN, box=None)
    for row in results:
        table.add_row(row["pair"], row["verdict"] or "failed", *map(_cell, [row] * 4, SHOWN))
    known = {key: [r[key] for r in results if r[key] is not None] for key, _ in SHOWN.values()}
    means = {key: sum(values) / len(values) if values else None for key, values in known.items()}
    table.add_row("mean", "", *map(_cell, [means] * 4, SHOWN))
    Console(highlight=False, soft_wrap=True).print(table)


def _cell(row: dict[str, Any], column: str) -> str:
    key, digits = SHOWN[column]
    return "" if row[key] is None else f"{row[key]:.{digits}f}"
