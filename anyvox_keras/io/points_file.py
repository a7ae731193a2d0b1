"""Lists of points in a CSV file, as ANTs reads and writes them."""

import csv
import os

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.io.output import atomic, check_output

COLUMNS = ("x", "y", "z")


def load_points(path: str | os.PathLike[str]) -> np.ndarray:
    """Read `(N, 3)` points from the columns x, y, z of a CSV file; others are ignored.

    Raises:
        UserError: missing file, missing column, no point, something that is no finite number.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a CSV file of points ({error})") from error
    if not rows or any(column not in rows[0] for column in COLUMNS):
        found = ", ".join(map(str, rows[0])) if rows else "no rows"
        raise UserError(f"{path}: expected columns x,y,z and a row, received {found}")
    return np.array([_point(path, number, row) for number, row in enumerate(rows, start=2)])


def save_points(path: str | os.PathLike[str], points: np.ndarray, overwrite: bool = False) -> None:
    """Write `(N, 3)` points as a CSV file with the header `x,y,z`.

    Raises:
        UserError: the file exists and `overwrite` is false, or its folder cannot be written.

    Example:
        ```python
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/points.csv"
        >>> save_points(path, np.array([[1.0, 2.0, 3.0]]))
        >>> load_points(path)
        array([[1., 2., 3.]])
        ```
    """
    with (
        atomic(check_output(path, overwrite)) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([f"{value:.6f}" for value in point] for point in points)


def _point(path: str | os.PathLike[str], line: int, row: dict[str, str]) -> list[float]:
    try:
        point = [float(row[column]) for column in COLUMNS]
    except (TypeError, ValueError):
        point = [float("nan")]
    if not np.isfinite(point).all():
        received = ",".join(str(row[column]) for column in COLUMNS)
        raise UserError(f"{path}, line {line}: expected three numbers, received {received}")
    return point
