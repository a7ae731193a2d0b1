"""Points and what their file says of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

#: NIfTI's world is RAS, ITK's is LPS; the same signs lead back
TO_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Landmarks:
    """Points with names and other columns.

    Attributes:
        points: `(N, 3)`, mm, LPS.
        rows: what else each point has, by column, in the order of the file.
        columns: the header of a table, where it was one, in its own order and spelling.
        delimiter: what splits the table's columns.
    """

    points: np.ndarray
    rows: Sequence[dict[str, Any]] = ()
    columns: tuple[str, ...] = ("x", "y", "z")
    delimiter: str = ","

    def at(self, points: np.ndarray) -> "Landmarks":
        """The same points elsewhere."""
        return replace(self, points=points)

    def row(self, index: int) -> dict[str, Any]:
        """Columns of one point besides its coordinates."""
        return dict(self.rows[index]) if self.rows else {}
