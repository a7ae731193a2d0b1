"""Markups of 3D Slicer: `.fcsv` (versions 4) and `.mrk.json` (version 5)."""

import csv
import json
import os
from typing import Any

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.io.landmarks import TO_LPS, Landmarks

# Slicer's own order; "vis", "sel" and "lock" are visibility, selection and lock
_FCSV = (
    "id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label", "desc",
    "associatedNodeID",
)  # fmt: skip
_DEFAULTS = {"ow": "0", "ox": "0", "oy": "0", "oz": "1", "vis": "1", "sel": "1", "lock": "0"}
#: the names of one thing in the two formats
_JSON_NAMES = {"label": "label", "desc": "description", "associatedNodeID": "associatedNodeID"}
_SYSTEMS = {"0": "RAS", "1": "LPS", "RAS": "RAS", "LPS": "LPS"}


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
