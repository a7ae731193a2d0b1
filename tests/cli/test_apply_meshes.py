"""`anyvox apply --mesh`: a sphere of the moving side lands where SimpleITK's inverse puts it."""

import importlib

import keras
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkFiltersSources import vtkSphereSource
from vtkmodules.vtkIOLegacy import vtkPolyDataReader, vtkPolyDataWriter

from anyvox_keras.cli import main
from anyvox_keras.geometry import Chain, Grid
from anyvox_keras.io import MESHES, Mesh, read_mesh, save_affine, save_mesh, save_volume, save_warp

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="no backend takes part"),
    pytest.mark.filterwarnings("ignore:.*does not hold"),
]

LPS = np.array([-1.0, -1.0, 1.0])
CENTRE, RADIUS = np.array([4.0, -6.0, 5.0]), 8.0  # LPS
# what takes fixed points to moving ones, RAS: a turn, a scale and a shift
TURN = np.array([[0.0, -1.5, 0, 3], [1.5, 0, 0, -2], [0, 0, 1.5, 1], [0, 0, 0, 1]])
PLACE = np.array([[1.0, 0, 0, -20], [0, 1, 0, -20], [0, 0, 1, -20], [0, 0, 0, 1]])
GRID = Grid((17, 17, 17), PLACE @ np.diag([2.5, 2.5, 2.5, 1]))
_WAVE = GRID.to_world(GRID.voxels())
FIELD = 2 * np.sin(_WAVE[..., [1, 2, 0]] / 8)


@pytest.fixture
def sphere():
    """A sphere with normals, and a thickness at each point."""
    source = vtkSphereSource()
    source.SetCenter(CENTRE)
    source.SetRadius(RADIUS)
    source.SetThetaResolution(12)
    source.SetPhiResolution(10)
    source.Update()
    data = source.GetOutput()
    thickness = numpy_to_vtk(np.arange(data.GetNumberOfPoints()) / 7.0, deep=True)
    thickness.SetName("thickness")
    data.GetPointData().AddArray(thickness)
    return data


@pytest.fixture
def folder(tmp_path):
    save_affine(tmp_path / "affine.tfm", TURN)
    save_warp(tmp_path / "warp.nii.gz", FIELD, GRID)
    return tmp_path


def write(path, data, title="3D Slicer output. SPACE=LPS", binary=True, version=51):
    writer = vtkPolyDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    writer.SetHeader(title)
    writer.SetFileVersion(version)
    (writer.SetFileTypeToBinary if binary else writer.SetFileTypeToASCII)()
    assert writer.Write() == 1


def read(path):
    """Points, faces, thickness and title by VTK itself."""
    reader = vtkPolyDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    data = reader.GetOutput()
    thickness = vtk_to_numpy(data.GetPointData().GetArray("thickness"))
    faces = vtk_to_numpy(data.GetPolys().GetConnectivityArray())
    return vtk_to_numpy(data.GetPoints().GetData()), faces, thickness, reader.GetHeader()


def apply(folder, mesh, out, *more, warp="affine.tfm"):
    words = ["apply", "--warp", folder / warp, "--mesh", folder / mesh, "--out", folder / out]
    return main([*map(str, words), *more])


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("version", [51, 42])
def test_an_affine_moves_a_sphere_as_arithmetic_says(folder, sphere, capsys, binary, version):
    write(folder / "in.vtk", sphere, "LPS SPACE=LPS", binary, version)
    assert apply(folder, "in.vtk", "out.vtk") == 0
    count = sphere.GetNumberOfPoints()
    said = f"{folder / 'out.vtk'}: {count} points, LPS, from moving to fixed\n"
    assert capsys.readouterr().out == said
    points, faces, thickness, title = read(folder / "out.vtk")
    _, old_faces, old_thickness, _ = read(folder / "in.vtk")
    np.testing.assert_array_equal(faces, old_faces)
    np.testing.assert_array_equal(thickness, old_thickness)
    assert title == "LPS SPACE=LPS"
    assert (b"BINARY" in (folder / "out.vtk").read_bytes()) == binary
    near = 1e-5 if binary else 1e-4  # VTK writes six digits
    back = np.linalg.inv(TURN)
    centre = (back[:3, :3] @ (CENTRE * LPS) + back[:3, 3]) * LPS
    radii = np.linalg.norm(points - centre, axis=1)
    np.testing.assert_allclose(radii, RADIUS / 1.5, atol=near)
    transform = sitk.ReadTransform(str(folder / "affine.tfm")).GetInverse()
    start = vtk_to_numpy(sphere.GetPoints().GetData()).astype(float)
    truth = [transform.TransformPoint(point) for point in start.tolist()]
    np.testing.assert_allclose(points, truth, atol=near)
    # a sphere's normals point away from its centre, wherever it is
    normals = read_mesh(folder / "out.vtk").normals
    np.testing.assert_allclose(normals, (points - centre) / (RADIUS / 1.5), atol=near)


@pytest.mark.parametrize("system", ["LPS", "RAS"])
@pytest.mark.parametrize("warps", [("warp.nii.gz",), ("warp.nii.gz", "affine.tfm")])
def test_a_field_moves_a_sphere_to_where_sitk_maps_it_back(folder, sphere, system, warps):
    """The inverse is proved by SimpleITK's way forth: it leads to the mesh that was read."""
    write(folder / "in.vtk", sphere, f"SPACE={system}")
    words = [word for warp in warps for word in ("--warp", str(folder / warp))]
    files = ["--mesh", folder / "in.vtk", "--out", folder / "out.vtk"]
    assert main(["apply", *words, *map(str, files)]) == 0
    points, faces, thickness, title = read(folder / "out.vtk")
    start, old_faces, old_thickness, _ = read(folder / "in.vtk")
    np.testing.assert_array_equal(faces, old_faces)
    np.testing.assert_array_equal(thickness, old_thickness)
    assert title == f"SPACE={system}"
    assert np.linalg.norm(points - start, axis=1).max() > 1
    field = sitk.ReadImage(str(folder / "warp.nii.gz"), sitk.sitkVectorFloat64)
    both = sitk.CompositeTransform(3)
    if len(warps) == 2:  # SimpleITK's composite begins with the transform added last
        both.AddTransform(sitk.ReadTransform(str(folder / "affine.tfm")))
    both.AddTransform(sitk.DisplacementFieldTransform(field))
    signs = 1 if system == "LPS" else LPS
    forth = [both.TransformPoint(p) for p in (points.astype(float) * signs).tolist()]
    np.testing.assert_allclose(forth, start * signs, atol=2e-3)


def test_a_mesh_and_its_image_land_together(folder, sphere):
    """An image of distances to the sphere, moved as images are, is zero on the moved sphere."""
    moving = Grid((40, 40, 40), PLACE)
    away = np.linalg.norm(moving.to_world(moving.voxels()) - CENTRE * LPS, axis=-1) - RADIUS
    save_volume(folder / "moving.nii.gz", away.astype("float32"), moving)
    fine = Grid((36, 38, 40), PLACE)
    save_volume(folder / "fixed.nii.gz", np.zeros(fine.shape, "float32"), fine)
    words = ["apply", "--warp", folder / "warp.nii.gz", "--image", folder / "moving.nii.gz"]
    words += ["--reference", folder / "fixed.nii.gz", "--out", folder / "moved.nii.gz"]
    assert main([*map(str, words)]) == 0
    write(folder / "in.vtk", sphere)
    assert apply(folder, "in.vtk", "out.vtk", warp="warp.nii.gz") == 0
    voxels = fine.to_voxel(read_mesh(folder / "out.vtk").points * LPS)
    moved = nib.load(folder / "moved.nii.gz").get_fdata()
    left = ndimage.map_coordinates(moved, voxels.T, order=1)
    assert np.abs(left).max() < 0.15  # of a grid of 1 mm
    start = fine.to_voxel(read_mesh(folder / "in.vtk").points * LPS)
    assert np.abs(ndimage.map_coordinates(moved, start.T, order=1)).max() > 1


def test_what_does_not_say_is_lps_or_as_the_flag_says(folder, sphere, capsys):
    write(folder / "in.vtk", sphere, "vtk output")
    assert apply(folder, "in.vtk", "lps.vtk") == 0
    assert "points, LPS (its file does not say)" in capsys.readouterr().out
    assert apply(folder, "in.vtk", "ras.vtk", "--ras") == 0
    assert "points, RAS (its file does not say)" in capsys.readouterr().out
    assert read(folder / "ras.vtk")[3] == "vtk output SPACE=RAS"
    back = np.linalg.inv(TURN)
    start = read(folder / "in.vtk")[0]
    truth = start @ back[:3, :3].T + back[:3, 3]
    np.testing.assert_allclose(read(folder / "ras.vtk")[0], truth, atol=1e-5)
    truth = (start * LPS @ back[:3, :3].T + back[:3, 3]) * LPS
    np.testing.assert_allclose(read(folder / "lps.vtk")[0], truth, atol=1e-5)
    # what the file says goes before the flag
    assert apply(folder, "lps.vtk", "again.vtk", "--ras") == 0
    assert "points, LPS, from" in capsys.readouterr().out


@pytest.mark.parametrize("ending", MESHES)
@pytest.mark.parametrize("system", ["LPS", "RAS"])
@pytest.mark.parametrize("text", [False, True])
def test_every_format_keeps_faces_and_says_its_system(folder, sphere, ending, system, text):
    start = vtk_to_numpy(sphere.GetPoints().GetData()).astype(float)
    mesh = Mesh(start, sphere, system, True, title="drawn by hand", ascii=text)
    save_mesh(folder / f"in{ending}", mesh)
    assert apply(folder, f"in{ending}", f"out{ending}") == 0
    before, after = read_mesh(folder / f"in{ending}"), read_mesh(folder / f"out{ending}")
    assert (after.system, after.said, after.ascii) == (system, True, before.ascii)
    assert after.data.GetNumberOfPolys() == sphere.GetNumberOfPolys()
    centre = np.linalg.inv(TURN) @ [*CENTRE * LPS, 1]
    radii = np.linalg.norm(after.points - centre[:3] * LPS, axis=1)
    np.testing.assert_allclose(radii, RADIUS / 1.5, atol=1e-4)
    if ending != ".stl":  # whose points VTK finds anew
        np.testing.assert_array_equal(
            vtk_to_numpy(after.data.GetPolys().GetConnectivityArray()),
            vtk_to_numpy(sphere.GetPolys().GetConnectivityArray()),
        )


def test_colours_stay_and_what_a_format_does_not_hold_is_told(folder, sphere, capsys):
    colours = numpy_to_vtk(np.arange(3 * sphere.GetNumberOfPoints(), dtype="uint8").reshape(-1, 3))
    colours.SetName("RGB")
    sphere.GetPointData().AddArray(colours)
    write(folder / "in.vtk", sphere)
    assert apply(folder, "in.vtk", "out.ply") == 0
    assert ".ply does not hold thickness" in capsys.readouterr().err
    assert apply(folder, "out.ply", "again.ply") == 0
    assert "does not hold" not in capsys.readouterr().err
    kept = read_mesh(folder / "again.ply").data.GetPointData().GetArray("RGB")
    np.testing.assert_array_equal(vtk_to_numpy(kept), vtk_to_numpy(colours))


def test_a_set_of_points_moves_too(folder, capsys):
    text = "# vtk DataFile Version 3.0\nSPACE=RAS\nASCII\nDATASET POLYDATA\nPOINTS 2 double\n"
    (folder / "in.vtk").write_text(text + "3 -2 1\n6 1 2.5\n")
    assert apply(folder, "in.vtk", "out.vtk") == 0
    np.testing.assert_allclose(read_mesh(folder / "out.vtk").points * LPS, [[0] * 3, [2, -2, 1]])
    assert "a mesh with faces" in refused(folder, capsys, "in.vtk", "out.stl")


def test_several_meshes_go_into_a_folder(folder, sphere):
    write(folder / "a.vtk", sphere)
    write(folder / "b.vtk", sphere)
    words = ["apply", "--warp", folder / "affine.tfm", "--out", folder / "all"]
    words += ["--mesh", folder / "a.vtk", "--mesh", folder / "b.vtk"]
    assert main([*map(str, words)]) == 0
    assert sorted(path.name for path in (folder / "all").iterdir()) == ["a.vtk", "b.vtk"]
    assert main([*map(str, words)]) == 2  # nothing is overwritten unasked


def refused(folder, capsys, mesh, out, *more, warp="affine.tfm"):
    """One line, exit 2, and no output, or the old one."""
    before = (folder / out).read_bytes() if (folder / out).exists() else None
    assert apply(folder, mesh, out, *more, warp=warp) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1, said
    after = (folder / out).read_bytes() if (folder / out).exists() else None
    assert after == before
    return said


def test_mistakes_are_one_line_and_overwrite_nothing(folder, sphere, capsys, monkeypatch):
    write(folder / "in.vtk", sphere)
    (folder / "old.vtk").write_text("old")
    (folder / "in.xyz").write_text("1 2 3")
    assert "ends in .vtk, .vtp" in refused(folder, capsys, "in.xyz", "old.vtk", "--overwrite")
    assert "ends in .vtk, .vtp" in refused(folder, capsys, "in.vtk", "out.xyz")
    assert "no such file" in refused(folder, capsys, "none.vtk", "old.vtk", "--overwrite")
    assert "exists already" in refused(folder, capsys, "in.vtk", "old.vtk")
    (folder / "image.vtk").write_text("# vtk DataFile Version 3.0\nx\nASCII\nDATASET FIELD\n")
    refused(folder, capsys, "image.vtk", "old.vtk", "--overwrite")
    real = importlib.import_module

    def absent(name, *rest):
        if name.startswith("vtkmodules"):
            raise ModuleNotFoundError(name, name="vtkmodules")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", absent)
    assert "anyvox_keras[meshes]" in refused(folder, capsys, "in.vtk", "old.vtk", "--overwrite")


@pytest.mark.parametrize("ending", MESHES)
@pytest.mark.parametrize("text", [False, True])
def test_a_file_cut_short_is_refused(folder, sphere, capsys, ending, text):
    start = vtk_to_numpy(sphere.GetPoints().GetData()).astype(float)
    save_mesh(folder / f"in{ending}", Mesh(start, sphere, "LPS", True, ascii=text))
    (folder / "old.vtk").write_text("old")
    whole = (folder / f"in{ending}").read_bytes()
    # a text of .obj says nowhere how much there is to come
    parts = (
        (0, 0.001, 0.02) if ending == ".obj" else (0, 0.001, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
    )
    for part in parts:
        (folder / f"cut{ending}").write_bytes(whole[: int(part * len(whole))])
        refused(folder, capsys, f"cut{ending}", "old.vtk", "--overwrite")


def test_a_field_that_folds_has_no_way_back(folder, sphere, capsys, rng):
    write(folder / "in.vtk", sphere)
    save_warp(folder / "folds.nii.gz", rng.normal(0, 30, (*GRID.shape, 3)), GRID)
    said = refused(folder, capsys, "in.vtk", "out.vtk", warp="folds.nii.gz")
    assert "expected a transform that has an inverse" in said


def test_points_back_are_exact_for_large_turns():
    """Steps without the affine part would run away: the map turns by 90 degrees and scales."""
    points = np.random.default_rng(0).uniform(-5, 5, (20, 3))
    chain = Chain((TURN, *Chain((TURN,)).parts))
    found, off = chain.points_back(points)
    np.testing.assert_allclose(chain.points(found), points, atol=1e-9)
    assert off.max() < 1e-9
