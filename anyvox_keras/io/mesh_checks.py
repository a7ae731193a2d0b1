"""What VTK's readers let pass, or crash on: mesh files that end too early."""

import contextlib
import faulthandler
import multiprocessing
import os
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from anyvox_keras.errors import UserError

#: PLY's numbers, by both of their names, in the letters of `struct`
_NUMBERS = {
    "char": "b", "int8": "b", "uchar": "B", "uint8": "B", "short": "h", "int16": "h",
    "ushort": "H", "uint16": "H", "int": "i", "int32": "i", "uint": "I", "uint32": "I",
    "float": "f", "float32": "f", "double": "d", "float64": "d",
}  # fmt: skip
_NUMBER = re.compile(rb"(?<!\S)[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\S)")
# of a binary STL: the header and the count of triangles, and one triangle
_STL_HEAD, _TRIANGLE = 84, 50
# seconds
_PATIENCE = 600


def require_whole(path: Path) -> None:
    """Refuse a PLY or STL file that holds less than it announces, before VTK reads it.

    Raises:
        UserError: Naming the file.
    """
    content = path.read_bytes()
    whole = {".ply": _whole_ply, ".stl": _whole_stl}.get(path.suffix.lower())
    try:
        fine = bool(content) and (whole is None or whole(content))
    except (ValueError, KeyError, IndexError, StopIteration, struct.error):
        fine = False
    if not fine:
        raise UserError(f"{path}: expected a mesh, received a damaged or unfinished file")


def require_survived(path: Path, read: Callable[[], object]) -> None:
    """Let a process of its own read a file first: VTK ends the process on some damaged files.

    Where processes cannot fork, as on Windows, nothing is tried.

    Args:
        path: The file.
        read: What reads it; an error that it raises is no crash.

    Raises:
        UserError: The process crashed, or took longer than ten minutes.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        return
    child = multiprocessing.get_context("fork").Process(target=_try, args=(read,), daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads, which the child does not use
        child.start()
    child.join(_PATIENCE)
    if child.exitcode is None:
        child.kill()
        child.join()
    if child.exitcode != 0:
        raise UserError(f"{path}: expected a mesh, received a damaged file")


def _try(read: Callable[[], object]) -> None:
    """Read, say nothing of a crash, and leave errors to who reads next."""
    faulthandler.disable()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    with contextlib.suppress(Exception):
        read()


def require_numbers(path: Path, data: Any) -> None:
    """Refuse a VTK file in ASCII that holds fewer numbers than the mesh that was made of it.

    Args:
        path: The file.
        data: The `vtkPolyData` that VTK read.

    Raises:
        UserError: Naming the file.
    """
    groups = (data.GetPointData(), data.GetCellData())
    arrays = [group.GetArray(k) for group in groups for k in range(group.GetNumberOfArrays())]
    cells = (data.GetVerts(), data.GetLines(), data.GetPolys(), data.GetStrips())
    expected = 3 * data.GetNumberOfPoints() + sum(a.GetNumberOfValues() for a in arrays if a)
    expected += sum(c.GetNumberOfCells() + c.GetNumberOfConnectivityIds() for c in cells)
    found = len(_NUMBER.findall(path.read_bytes()))
    if found < expected:
        raise UserError(f"{path}: expected {expected} numbers, received {found}: it is unfinished")


def is_ascii(path: Path) -> bool:
    """Say whether a PLY or STL file is written in text."""
    content = path.read_bytes()
    if path.suffix.lower() == ".ply":
        return b"format ascii" in content[:200]
    return content.lstrip().startswith(b"solid") and not _whole_binary_stl(content)


def _whole_stl(content: bytes) -> bool:
    return _whole_binary_stl(content) or (
        content.lstrip().startswith(b"solid") and b"endsolid" in content[-200:]
    )


def _whole_binary_stl(content: bytes) -> bool:
    if len(content) < _STL_HEAD:
        return False
    count = int.from_bytes(content[_STL_HEAD - 4 : _STL_HEAD], "little")
    return len(content) == _STL_HEAD + _TRIANGLE * count


def _whole_ply(content: bytes) -> bool:
    head, found, body = content.partition(b"end_header")
    if not found or not content.startswith(b"ply"):
        return False
    body = body[body.index(b"\n") + 1 :]
    lines = [line.split() for line in head.decode("latin-1").splitlines()]
    form = next(words[1] for words in lines if words[:1] == ["format"])
    elements: list[tuple[int, list[list[str]]]] = []
    for words in lines:
        if words[:1] == ["element"]:
            elements.append((int(words[2]), []))
        elif words[:1] == ["property"]:
            elements[-1][1].append(words[1:-1])
    if form == "ascii":
        return len([row for row in body.splitlines() if row.strip()]) >= sum(n for n, _ in elements)
    order = "<" if form == "binary_little_endian" else ">"
    place = 0
    for count, properties in elements:
        place = _after(body, place, count, properties, order)
    return place <= len(body)


def _after(body: bytes, place: int, count: int, properties: list[list[str]], order: str) -> int:
    """Where the next element of a binary PLY file begins; lists say their own length."""
    if all(words[0] != "list" for words in properties):
        return place + count * struct.calcsize(order + "".join(_NUMBERS[w[0]] for w in properties))
    for _ in range(count):
        for words in properties:
            if words[0] != "list":
                place += np.dtype(_NUMBERS[words[0]]).itemsize
                continue
            (length,) = struct.unpack_from(order + _NUMBERS[words[1]], body, place)
            place += np.dtype(_NUMBERS[words[1]]).itemsize
            place += length * np.dtype(_NUMBERS[words[2]]).itemsize
    return place
