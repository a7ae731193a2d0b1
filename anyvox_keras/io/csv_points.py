"""Points in a table."""

import csv
import io
import os

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.io.landmarks import TO_LPS, Landmarks

AXES = ("x", "y", "z")


def read_csv(path: str | os.PathLike[str], ras: bool) -> Landmarks:
    """Read a table with the columns x, y, z; see `read_landmarks`."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            text = file.read()
        delimiter = _delimiter(text)
        lines = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
        table = [(lines.line_num, row) for row in lines if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a CSV file of points ({error})") from error
    columns = tuple(name.strip() for name in table[0][1]) if table else ()
    names = [name.lower() for name in columns]
    if len(table) < 2 or any(names.count(axis) != 1 for axis in AXES):
        found = delimiter.join(columns) or "no rows"
        raise UserError(f"{path}: expected columns x,y,z and a row, received {found}")
    where = [names.index(axis) for axis in AXES]
    points, rows = [], []
    for line, row in table[1:]:
        points.append(_point(f"{path}, line {line}", row, where, delimiter))
        rows.append({c: v for c, v in zip(columns, row, strict=False) if c.lower() not in AXES})
    signs = TO_LPS if ras else 1.0
    return Landmarks(np.array(points) * signs, rows, columns, delimiter)


def csv_text(landmarks: Landmarks, ras: bool) -> str:
    """The table as read, with the points where they are now."""
    points = landmarks.points * (TO_LPS if ras else 1.0)
    columns = landmarks.columns
    if not {axis for column in columns for axis in AXES if column.lower() == axis}:
        columns = (*AXES, *columns)  # of Slicer's markups
    text = io.StringIO()
    writer = csv.writer(text, delimiter=landmarks.delimiter, lineterminator="\r\n")
    writer.writerow(columns)
    for index, point in enumerate(points):
        row = landmarks.row(index)
        coordinates = dict(zip(AXES, (f"{value:.6f}" for value in point), strict=True))
        writer.writerow([coordinates.get(c.lower(), row.get(c, "")) for c in columns])
    return text.getvalue()


def _delimiter(text: str) -> str:
    """What splits the header: a comma, semicolon or tab."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=header.count)


def _point(where: str, row: list[str], columns: list[int], delimiter: str) -> list[float]:
    """The three numbers of a row; where a semicolon splits, a comma may be the decimal point."""
    cells = [row[column].strip() if column < len(row) else "" for column in columns]
    try:
        point = [float(c.replace(",", ".") if delimiter != "," else c) for c in cells]
    except ValueError:
        point = [float("nan")]
    if not np.isfinite(point).all():
        raise UserError(f"{where}: expected three numbers, received {','.join(cells)}")
    return point
