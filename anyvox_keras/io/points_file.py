"""Lists of points: CSV as ANTs has it, and the markups of 3D Slicer."""

import os
from pathlib import Path

import numpy as np

from anyvox_keras.io import csv_points, slicer_points
from anyvox_keras.io.landmarks import Landmarks
from anyvox_keras.io.output import atomic, check_output


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
        return slicer_points.read_fcsv(path)
    if name.endswith(".json"):
        return slicer_points.read_json(path)
    return csv_points.read_csv(path, ras)


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
    points = np.asarray(points, "float64")
    count = len(points) if like is None else len(like.points)
    if points.shape != (count, 3) or not np.isfinite(points).all():
        raise ValueError(
            f"`points` must be finite, of shape {(count, 3)}. Received: shape={points.shape}"
        )
    found = Landmarks(points) if like is None else like.at(points)
    name = Path(path).name.lower()
    if name.endswith(".fcsv"):
        text = slicer_points.fcsv_text(found)
    elif name.endswith(".json"):
        text = slicer_points.json_text(found)
    else:
        text = csv_points.csv_text(found, ras)
    with atomic(check_output(path, overwrite)) as temporary:
        temporary.write_text(text, encoding="utf-8")
