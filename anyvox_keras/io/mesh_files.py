"""Surfaces and sets of points: VTK's .vtk and .vtp, .ply, .stl and .obj."""

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anyvox_keras.errors import UserError, one_line, real_numbers
from anyvox_keras.extras import load_extra
from anyvox_keras.io.mesh_checks import is_ascii, require_numbers, require_survived, require_whole
from anyvox_keras.io.mesh_titles import describe, system_of, title_of
from anyvox_keras.io.output import atomic, check_output
from anyvox_keras.io.points import TO_LPS

#: ending -> VTK's module, and the name of its reader and writer without "Reader" and "Writer"
_FORMS = {
    ".vtk": ("vtkIOLegacy", "vtkPolyData"),
    ".vtp": ("vtkIOXML", "vtkXMLPolyData"),
    ".ply": ("vtkIOPLY", "vtkPLY"),
    ".stl": ("vtkIOGeometry", "vtkSTL"),
    ".obj": ("vtkIOGeometry", "vtkOBJ"),
}
MESHES = tuple(_FORMS)
#: hold no data of points
_BARE = (".ply", ".stl", ".obj")


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface, lines or a set of points, as its file holds it.

    Attributes:
        points: `(N, 3)`, mm, LPS.
        data: VTK's `vtkPolyData`: faces, data of points and faces, and the file's own points.
        system: "LPS" or "RAS": the file's own numbers.
        said: The file says so itself.
        normals: `(N, 3)`, unit vectors, LPS, if the points have any.
        title: The title, comment or header of the file.
        ascii: The file is text, of the formats that are either.
    """

    points: np.ndarray
    data: Any
    system: str
    said: bool
    normals: np.ndarray | None = None
    title: str = ""
    ascii: bool = False

    def at(self, points: np.ndarray, normals: np.ndarray | None) -> "Mesh":
        """The same mesh elsewhere."""
        return replace(self, points=points, normals=normals)


def read_mesh(path: str | os.PathLike[str], ras: bool = False) -> Mesh:
    """Read a mesh; its title says whether it is in LPS or RAS if 3D Slicer wrote it.

    Args:
        path: Ends in one of `MESHES`.
        ras: A file that does not say is RAS; it is LPS by default, as ITK's and Slicer's are.

    Raises:
        UserError: VTK is not installed; another ending; a file that is missing, damaged, without
            points, or with points that are not finite.
    """
    path = Path(path)
    reader = _tool(path, "Reader")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    require_whole(path)
    reader.SetFileName(str(path))
    require_survived(path, reader.Update)
    with _heard(path, "read"):
        reader.Update()
        data = reader.GetOutput()
    ending = path.suffix.lower()
    text = reader.GetFileType() == 1 if ending == ".vtk" else is_ascii(path)
    if ending == ".vtk" and text:
        require_numbers(path, data)
    points = _points(path, data)
    title = title_of(reader, data)
    said = system_of(title)
    system = said or ("RAS" if ras else "LPS")
    signs = TO_LPS if system == "RAS" else 1.0
    normals = data.GetPointData().GetNormals()
    turned = None if normals is None else _numpy().vtk_to_numpy(normals).astype("float64") * signs
    return Mesh(points * signs, data, system, said is not None, turned, title, text)


def save_mesh(path: str | os.PathLike[str], mesh: Mesh, overwrite: bool = False) -> None:
    """Write a mesh in the format of the name, in the system of the file that it was read from.

    Faces and the data of points and faces stay; normals of points become `mesh.normals`, those of
    faces are left out, since they follow from the points. `.stl` holds triangles and nothing else,
    `.ply` normals and colours, `.obj` normals; a warning names the data that are not written.

    Raises:
        UserError: VTK is not installed; another ending; the file exists and `overwrite` is false;
            a `.stl` of a mesh without faces.
        ValueError: The points are not finite, or not as many as the mesh has.
    """
    path = Path(path)
    writer = _tool(path, "Writer")
    data = _moved(mesh)
    ending = path.suffix.lower()
    if ending == ".stl" and not data.GetNumberOfPolys() + data.GetNumberOfStrips():
        raise UserError(f"{path}: expected a mesh with faces, which .stl is made of; received none")
    describe(writer, data, ending, mesh.title, mesh.system)
    _keep_colours(writer, data, path)
    if ending in (".vtk", ".ply", ".stl"):
        (writer.SetFileTypeToASCII if mesh.ascii else writer.SetFileTypeToBinary)()
    with atomic(check_output(path, overwrite)) as temporary, _heard(path, "written"):
        writer.SetFileName(str(temporary))
        writer.SetInputData(data)
        writer.Write()
        if ending == ".obj":  # whose writer takes no comment
            temporary.write_text(f"# SPACE={mesh.system}\n" + temporary.read_text())


def _keep_colours(writer: Any, data: Any, path: Path) -> None:
    """Have a .ply file hold its colours, and say what a file does not hold."""
    ending, group = path.suffix.lower(), data.GetPointData()
    if ending not in _BARE:
        return
    names = {group.GetArrayName(k) or "an array" for k in range(group.GetNumberOfArrays())}
    if group.GetNormals() is not None:
        names.discard(group.GetNormals().GetName())
    for name in ("RGB", "RGBA"):  # as VTK's reader calls them
        if ending == ".ply" and name in names:
            writer.SetArrayName(name)
            writer.SetEnableAlpha(name == "RGBA")
            names.discard(name)
    if names:
        listed = ", ".join(sorted(names))
        warnings.warn(f"{path}: {ending} does not hold {listed}, which is left out", stacklevel=3)


def _tool(path: Path, kind: str) -> Any:
    """VTK's reader or writer of the ending."""
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        expected = ", ".join(MESHES)
        raise UserError(f"{path}: expected a mesh that ends in {expected}, received {path.name}")
    load_extra("vtkmodules", f"{path}")
    return getattr(_module(form[0]), form[1] + kind)()


def _module(name: str) -> Any:
    return load_extra(f"vtkmodules.{name}", "a mesh")


def _numpy() -> Any:
    return load_extra("vtkmodules.util.numpy_support", "a mesh")


@contextlib.contextmanager
def _heard(path: Path, done: str) -> Iterator[None]:
    """Turn what VTK would print while it reads or writes into an error of one line."""
    core = _module("vtkCommonCore")
    core.vtkLogger.SetStderrVerbosity(core.vtkLogger.VERBOSITY_OFF)
    before, window = core.vtkOutputWindow.GetInstance(), core.vtkStringOutputWindow()
    core.vtkOutputWindow.SetInstance(window)
    try:
        yield
    finally:
        core.vtkOutputWindow.SetInstance(before)
        core.vtkLogger.SetStderrVerbosity(core.vtkLogger.VERBOSITY_ERROR)
    if said := window.GetOutput().strip():
        reason = re.search(r"\): (.+)", said)
        raise UserError(
            f"{path}: the mesh cannot be {done} ({one_line(reason[1] if reason else said)})"
        )


def _points(path: Path, data: Any) -> np.ndarray:
    """The points of a mesh, all faces of which refer to points that there are."""
    count = data.GetNumberOfPoints()
    if not count:
        raise UserError(f"{path}: expected a mesh of polygons, lines or points, received no point")
    points: np.ndarray = _numpy().vtk_to_numpy(data.GetPoints().GetData()).astype("float64")
    for cells in (data.GetVerts(), data.GetLines(), data.GetPolys(), data.GetStrips()):
        ids = _numpy().vtk_to_numpy(cells.GetConnectivityArray())
        if len(ids) and not (ids.min() >= 0 and ids.max() < count):
            raise UserError(f"{path}: expected faces of its {count} points, received other points")
    if not np.isfinite(points).all():
        raise UserError(f"{path}: expected points of three finite numbers, received others")
    return points


def _moved(mesh: Mesh) -> Any:
    """VTK's mesh with the points and normals where they are now, in the file's own system."""
    points = real_numbers("points", mesh.points, "float64")
    expected = (mesh.data.GetNumberOfPoints(), 3)
    if points.shape != expected or not np.isfinite(points).all():
        raise ValueError(f"`points` must be finite, {expected}. Received: shape={points.shape}")
    signs = TO_LPS if mesh.system == "RAS" else 1.0
    data = mesh.data.NewInstance()
    data.ShallowCopy(mesh.data)
    kept = mesh.data.GetPoints()
    data.SetPoints(kept.NewInstance())
    data.GetPoints().SetData(_array(points * signs, kept.GetData()))
    if data.GetCellData().GetNormals() is not None:
        data.GetCellData().RemoveArray(data.GetCellData().GetNormals().GetName())
    if mesh.normals is not None:
        old = mesh.data.GetPointData().GetNormals()
        data.GetPointData().SetNormals(_array(mesh.normals * signs, old))
    return data


def _array(values: np.ndarray, like: Any) -> Any:
    """VTK's array of these values, of the type and name of another."""
    made = like.NewInstance()
    support = _numpy()
    dtype = support.vtk_to_numpy(like).dtype
    made.DeepCopy(support.numpy_to_vtk(np.ascontiguousarray(values, dtype), deep=True))
    made.SetName(like.GetName())
    return made
