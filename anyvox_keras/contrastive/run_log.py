"""A training log that resumes exactly."""

import csv
import os
from pathlib import Path
from typing import Any

from anyvox_keras.io import atomic


class RunLog:
    """`log.csv`: one row every few steps.

    Keras's `CSVLogger` appends whatever comes; this one forgets the rows after the step from which
    a run goes on, so that a resumed log reads as an unbroken one.

    Args:
        path: The CSV file.
        columns: Names of all columns, the first of them `step`.
    """

    def __init__(self, path: str | os.PathLike[str], columns: list[str]) -> None:
        self.path = Path(path)
        self.columns = columns

    def rewind(self, step: int) -> None:
        """Keep the rows up to and including `step`."""
        rows = []
        if self.path.exists():
            with open(self.path, newline="") as file:
                # A row cut short by a kill has an empty last column at most; it is beyond `step`.
                rows = [row for row in csv.DictReader(file) if _step(row) <= step]
        with atomic(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

    def append(self, row: dict[str, Any]) -> None:
        """Add a row; absent columns stay empty."""
        with open(self.path, "a", newline="") as file:
            csv.DictWriter(file, self.columns, extrasaction="ignore").writerow(row)
            file.flush()
            os.fsync(file.fileno())


def _step(row: dict[str, str]) -> float:
    try:
        return int(row["step"])
    except (KeyError, TypeError, ValueError):
        return float("inf")
