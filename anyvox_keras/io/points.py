"""Points and what their file says of them."""

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anyvox_keras.errors import UserError, real_numbers
from anyvox_keras.io.csv_table import read_csv
from anyvox_keras.io.output import atomic, check_output

#: NIfTI's world is RAS, ITK's is LPS; the same signs lead back
TO_LPS = np.array([-1.0, -1.0, 1.0])
AXES = ("x", "y", "z")
# Slicer's own order; "vis", "sel" and "lock" are visibility, selection and lock
_FCSV = (
    "id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label", "desc",
    "associatedNodeID",
)  # fmt: skip
_DEFAULTS = {"ow": "0", "ox": "0", "oy": "0", "oz": "1", "vis": "1", "sel": "1", "lock": "0"}
#: the names of one thing in the two formats
_JSON_NAMES = {"label": "label", "desc": "description", "associatedNodeID": "associatedNodeID"}
_SYSTEMS = {"0": "RAS", "1": "LPS", "RAS": "RAS", "LPS": "LPS"}


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


def points_of_table(path: str | os.PathLike[str], ras: bool) -> Landmarks:
    """Read a table with the columns x, y, z; see `read_landmarks`."""
    columns, table, delimiter = read_csv(path, "points")
    names = [name.lower() for name in columns]
    if not table or any(names.count(axis) != 1 for axis in AXES):
        found = delimiter.join(columns) or "no rows"
        raise UserError(f"{path}: expected columns x,y,z and a row, received {found}")
    places = [names.index(axis) for axis in AXES]
    points, rows = [], []
    for where, row in table:
        points.append(_point(where, row, places, delimiter))
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


def read_fcsv(path: str | os.PathLike[str]) -> Landmarks:
    """Read a fiducial list, whose header says in what system it is; RAS where it does not."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a list of Slicer's fiducials ({error})") from error
    header = dict(
        part.strip(" #").split("=", 1) for part in lines if part.startswith("#") and "=" in part
    )
    fields = {name.strip(): value.strip() for name, value in header.items()}
    signs = _signs(path, fields.get("CoordinateSystem", "RAS"))
    columns = tuple(fields.get("columns", ",".join(_FCSV)).split(","))
    points, rows = [], []
    for number, line in enumerate(lines, start=1):
        if line.startswith("#") or not line.strip():
            continue
        row = dict(zip(columns, next(csv.reader([line])), strict=False))
        points.append(_numbers(f"{path}, line {number}", [row.pop(a, None) for a in "xyz"]))
        rows.append(row)
    return _landmarks(path, points, rows, signs)


def read_json(path: str | os.PathLike[str]) -> Landmarks:
    """Read the control points of all markups of a file, LPS where it does not say."""
    points, rows = [], []
    try:
        with open(path, encoding="utf-8-sig") as file:
            markups = json.load(file)["markups"]
        for markup in markups:
            signs = _signs(path, str(markup.get("coordinateSystem", "LPS")))
            for number, point in enumerate(markup.get("controlPoints", []), start=1):
                where = f"{path}, control point {number}"
                points.append(_numbers(where, point.get("position") or []) * signs)
                rows.append({name: point.get(key, "") for name, key in _JSON_NAMES.items()})
    except UserError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: expected Slicer's markups as JSON ({error})") from error
    return _landmarks(path, points, rows, np.ones(3))


def fcsv_text(landmarks: Landmarks) -> str:
    """A fiducial list in LPS, which every version since 4.11 reads."""
    lines = [
        "# Markups fiducial file version = 4.11",
        "# CoordinateSystem = LPS",
        f"# columns = {','.join(_FCSV)}",
    ]
    for index, point in enumerate(landmarks.points):
        place = dict(zip("xyz", (f"{value:.6f}" for value in point), strict=True))
        row = {**_DEFAULTS, "id": str(index + 1), "label": _label(landmarks, index)}
        row |= landmarks.row(index) | place
        lines.append(",".join(str(row.get(column, "")).replace(",", " ") for column in _FCSV))
    return "\n".join(lines) + "\n"


def json_text(landmarks: Landmarks) -> str:
    """Markups of one list of points, in LPS."""
    points = []
    for index, place in enumerate(landmarks.points):
        row = landmarks.row(index)
        point: dict[str, Any] = {"id": str(index + 1), "label": _label(landmarks, index)}
        point |= {key: str(row[name]) for name, key in _JSON_NAMES.items() if row.get(name)}
        points.append({**point, "position": place.tolist(), "positionStatus": "defined"})
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points}
    return json.dumps({"markups": [markup]}, indent=2) + "\n"


def _label(landmarks: Landmarks, index: int) -> str:
    row = {name.lower(): value for name, value in landmarks.row(index).items()}
    return str(row.get("label") or row.get("name") or f"F-{index + 1}")


def _signs(path: str | os.PathLike[str], system: str) -> np.ndarray:
    if system not in _SYSTEMS:
        raise UserError(f"{path}: expected the coordinate system RAS or LPS, received {system}")
    return TO_LPS if _SYSTEMS[system] == "RAS" else np.ones(3)


def _numbers(where: str, cells: Any) -> np.ndarray:
    try:
        point = np.array([float(cell) for cell in cells])
    except (TypeError, ValueError):
        point = np.array([np.nan])
    if point.shape != (3,) or not np.isfinite(point).all():
        received = ",".join(map(str, cells)) or "none"
        raise UserError(f"{where}: expected three numbers, received {received}")
    return point


def _landmarks(
    path: str | os.PathLike[str], points: list[Any], rows: list[Any], signs: np.ndarray
) -> Landmarks:
    if not points:
        raise UserError(f"{path}: expected at least one point, received none")
    columns = tuple(name for name in rows[0] if name != "id")
    return Landmarks(np.array(points) * signs, rows, columns)


def read_landmarks(path: str | os.PathLike[str], ras: bool = False) -> Landmarks:
    """Read points with their names and whatever else their file says of them.

    A name that ends in `.fcsv` or `.mrk.json` is 3D Slicer's, which says itself whether it is in
    RAS or LPS. Every other one is a table with the columns x, y, z in upper or lower case, split
    by commas, semicolons or tabs, with a byte order mark or without.

    Args:
        path: the file.
        ras: the numbers of a table are RAS; they are LPS by default, as in ITK.

    Raises:
        UserError: missing file, missing column, no point, something that is no finite number.
    """
    name = str(path).lower()
    if name.endswith(".fcsv"):
        return read_fcsv(path)
    if name.endswith(".json"):
        return read_json(path)
    return points_of_table(path, ras)


def load_points(path: str | os.PathLike[str], ras: bool = False) -> np.ndarray:
    """Read `(N, 3)` points, mm, LPS, see `read_landmarks`.

    Raises:
        UserError: missing file, missing column, no point, something that is no finite number.
    """
    return read_landmarks(path, ras).points


def save_points(
    path: str | os.PathLike[str],
    points: np.ndarray,
    overwrite: bool = False,
    like: Landmarks | None = None,
    ras: bool = False,
) -> None:
    """Write `(N, 3)` points, mm, LPS, in the format that the name asks for.

    Args:
        path: ends in `.fcsv` or `.mrk.json` for 3D Slicer; otherwise a CSV file is written.
        points: what to write.
        overwrite: replace an existing file.
        like: what the points were read as: their names and other columns are written too.
        ras: a CSV file gets RAS.

    Raises:
        UserError: the file exists and `overwrite` is false, or its folder cannot be written.
        ValueError: the points are not finite, of shape `(N, 3)`, as many as those of `like`.

    Example:
        ```python
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/points.csv"
        >>> save_points(path, np.array([[1.0, 2.0, 3.0]]))
        >>> load_points(path)
        array([[1., 2., 3.]])
        ```
    """
    points = real_numbers("points", points, "float64")
    count = len(points) if like is None else len(like.points)
    if points.shape != (count, 3) or not np.isfinite(points).all():
        raise ValueError(
            f"`points` must be finite, of shape {(count, 3)}. Received: shape={points.shape}"
        )
    found = Landmarks(points) if like is None else like.at(points)
    name = Path(path).name.lower()
    if name.endswith(".fcsv"):
        text = fcsv_text(found)
    elif name.endswith(".json"):
        text = json_text(found)
    else:
        text = csv_text(found, ras)
    with atomic(check_output(path, overwrite)) as temporary:
        temporary.write_text(text, encoding="utf-8")
