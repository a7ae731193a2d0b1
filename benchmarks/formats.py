"""Every format against a reader that is not ours: where points go, where images lie.

    python benchmarks/formats.py

Prints three tables in Markdown. Transforms are written by one program and read by the other, both
ways; 50 points are mapped, the largest distance is in millimetres. Images are read by both, or
written by us and read by theirs: the largest distance of their corners, and of their values.
Meshes are moved by the command and read by VTK: the distance to where SimpleITK maps the points.
"""

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import ants
import nibabel as nib
import nitransforms
import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import cKDTree
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkFiltersSources import vtkSphereSource
from vtkmodules.vtkIOGeometry import vtkOBJReader, vtkSTLReader
from vtkmodules.vtkIOLegacy import vtkPolyDataReader
from vtkmodules.vtkIOPLY import vtkPLYReader
from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

from anyvox_keras.cli import main as anyvox
from anyvox_keras.geometry import Chain, Grid, Volume, Warp
from anyvox_keras.io import (
    Mesh,
    load_transform,
    load_volume,
    save_mesh,
    save_transform,
    save_volume,
)

LPS = np.array([-1.0, -1.0, 1.0])
FIXED = Grid((24, 20, 16), np.array([[0, 2.5, 0, -9], [2, 0, 0, -8], [0, 0, 3, -7], [0, 0, 0, 1]]))
MOVING = Grid((18, 22, 20), np.array([[-2, 0, 0, 8], [0, 2, 0, -9], [0, 0, 2, -9], [0, 0, 0, 1]]))
WORLD = np.array([[1.1, 0.1, 0, 3], [-0.1, 0.9, 0, 1], [0, 0, 1, -2], [0, 0, 0, 1.0]])
RNG = np.random.default_rng(0)
PLACE = FIXED.voxels() / (np.array(FIXED.shape) - 1) * np.pi
WARP = Warp(3 * np.sin(PLACE) * np.sin(PLACE[..., ::-1]), FIXED)
POINTS = RNG.uniform(FIXED.corners().min(0) + 3, FIXED.corners().max(0) - 3, (50, 3))

#: what is written, by whom, read by whom, largest difference
Row = tuple[str, str, str, float]


def by_itk(transform: sitk.Transform) -> np.ndarray:
    """Where SimpleITK maps the points, RAS."""
    return np.array([transform.TransformPoint(p) for p in (POINTS * LPS).tolist()]) * LPS


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest distance of two rows of points."""
    return float(np.linalg.norm(np.asarray(a) - b, axis=-1).max())


def itk_affine() -> sitk.AffineTransform:
    """`WORLD` for SimpleITK, about a centre of its own."""
    flip = np.diag(LPS)
    made = sitk.AffineTransform(3)
    made.SetMatrix((flip @ WORLD[:3, :3] @ flip).ravel())
    made.SetCenter((4, -5, 6))
    shift = LPS * WORLD[:3, 3] - made.TransformPoint((0, 0, 0))
    made.SetTranslation(shift)
    return made


def itk_field() -> sitk.DisplacementFieldTransform:
    """A field of noise on a grid of its own."""
    image = sitk.GetImageFromArray(RNG.normal(size=(19, 20, 21, 3)), isVector=True)
    image.SetOrigin((-90, -90, -90))
    image.SetSpacing((9, 9, 10))
    return sitk.DisplacementFieldTransform(image)


def read_from_itk(folder: Path) -> Iterator[Row]:
    """What SimpleITK writes: linear transforms by kind, MATLAB, HDF5, fields by intent."""
    euler = sitk.Euler3DTransform((1, 2, 3), 0.1, 0.2, 0.3, (4, 5, 6))
    versor = sitk.VersorRigid3DTransform((0, 0, 1), 0.3, (1, 2, 3))
    similar = sitk.Similarity3DTransform(1.2, (0, 1, 0), 0.2, (1, 2, 3))
    linear = sitk.CompositeTransform(
        [euler, sitk.TranslationTransform(3, (1.0, 2.0, 3.0)), similar]
    )
    both = sitk.CompositeTransform([itk_affine(), itk_field()])
    made = {
        ".tfm, affine": itk_affine(), ".tfm, Euler": euler, ".tfm, versor": versor,
        ".tfm, similarity": similar, ".tfm, composite": linear, ".mat, affine": itk_affine(),
        ".mat, Euler": euler, ".h5, affine": itk_affine(), ".h5, affine and field": both,
    }  # fmt: skip
    for number, (what, transform) in enumerate(made.items()):
        path = folder / f"{number}{what.split(',')[0]}"
        sitk.WriteTransform(transform, str(path))
        yield what, "SimpleITK", "us", apart(load_transform(path).points(POINTS), by_itk(transform))
    for intent, name in ((1007, "vector"), (1006, "displacement vector")):
        path = str(folder / f"{intent}.nii.gz")
        values = RNG.normal(size=(*FIXED.shape, 1, 3)).astype("float32")
        image = nib.Nifti1Image(values, FIXED.affine)
        image.header.set_intent(name)
        nib.save(image, path)
        read = sitk.DisplacementFieldTransform(sitk.ReadImage(path, sitk.sitkVectorFloat64))
        found = load_transform(path).points(POINTS)
        yield f".nii.gz, intent {intent}", "nibabel", "us and SimpleITK", apart(found, by_itk(read))


def read_by_itk(folder: Path) -> Iterator[Row]:
    """What we write, mapped by SimpleITK and by ANTs."""
    for ending, chain in {
        ".tfm": Chain((WORLD,)), ".txt": Chain((WORLD,)), ".mat": Chain((WORLD,)),
        ".h5": Chain((WARP, WORLD)),
    }.items():  # fmt: skip
        path = folder / f"ours{ending}"
        save_transform(path, chain)
        read = sitk.ReadTransform(str(path))
        yield ending, "us", "SimpleITK", apart(chain.points(POINTS), by_itk(read))
    path = str(folder / "ours.nii.gz")
    save_transform(path, Chain((WARP,)))
    read = sitk.DisplacementFieldTransform(sitk.ReadImage(path, sitk.sitkVectorFloat64))
    yield ".nii.gz, field", "us", "SimpleITK", apart(WARP.points(POINTS), by_itk(read))
    import pandas

    table = pandas.DataFrame(POINTS * LPS, columns=list("xyz"))
    theirs = ants.apply_transforms_to_points(3, table, [path])[list("xyz")].to_numpy() * LPS
    yield ".nii.gz, field", "us", "ANTs", apart(WARP.points(POINTS), theirs)
    theirs = ants.apply_transforms_to_points(3, table, [str(folder / "ours.mat")])
    found = Chain((WORLD,)).points(POINTS)
    yield ".mat", "us", "ANTs", apart(found, theirs[list("xyz")].to_numpy() * LPS)


def with_nitransforms(folder: Path) -> Iterator[Row]:
    """FSL's and FreeSurfer's matrices, which need both images."""
    paths = {}
    for name, grid in (("reference", FIXED), ("moving", MOVING)):
        paths[name] = str(folder / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(np.zeros(grid.shape, "float32"), grid.affine), paths[name])
    expected = Chain((WORLD,)).points(POINTS)
    for ending, kind, name in ((".mat", "fsl", "FSL"), (".lta", "fs", "FreeSurfer")):
        path = folder / f"ours_{kind}{ending}"
        save_transform(path, Chain((WORLD,)), fixed=FIXED, moving=MOVING)
        read = nitransforms.linear.load(path, fmt=kind, **paths)
        yield f"{ending}, {name}", "us", "nitransforms", apart(read.map(POINTS), expected)
        path = folder / f"theirs_{kind}{ending}"
        theirs = nitransforms.linear.Affine(WORLD, reference=paths["reference"])
        theirs.to_filename(path, fmt=kind, moving=paths["moving"])
        found = load_transform(path, FIXED, MOVING).points(POINTS)
        yield f"{ending}, {name}", "nitransforms", "us", apart(found, expected)


def with_scipy(folder: Path) -> Iterator[Row]:
    """Displacements in voxels: each voxel's centre goes where the array says, by arithmetic."""
    shift = np.stack([ndimage.gaussian_filter(RNG.normal(size=FIXED.shape), 2) for _ in range(3)])
    expected = FIXED.to_world(FIXED.voxels() + np.moveaxis(shift, 0, -1))
    centres = FIXED.to_world(FIXED.voxels()).reshape(-1, 3)
    for name, array in {
        "VoxelMorph (X, Y, Z, 3)": np.moveaxis(shift, 0, -1), "Learn2Reg (3, X, Y, Z)": shift,
    }.items():  # fmt: skip
        np.savez(folder / "voxels.npz", array)
        found = load_transform(folder / "voxels.npz", FIXED).points(centres)
        yield f".npz, {name}", "numpy", "us", apart(found, expected.reshape(-1, 3))
    save_transform(folder / "back.npz", Chain((WARP,)), fixed=FIXED)
    with np.load(folder / "back.npz") as back:
        found = FIXED.to_world(FIXED.voxels() + back["arr_0"]).reshape(-1, 3)
    yield ".npz, VoxelMorph (X, Y, Z, 3)", "us", "numpy", apart(found, WARP.points(centres))


#: what is read, by whom else, of the corners in mm, of the values
ImageRow = tuple[str, str, float, float]


def image_rows(folder: Path) -> Iterator[ImageRow]:
    """Images that SimpleITK or nibabel writes, read by us; ours, read by SimpleITK."""
    values = RNG.integers(-1000, 2000, FIXED.shape).astype("int16")
    made = nib.Nifti1Image(values, FIXED.affine)
    made.set_qform(FIXED.affine, 1)
    nib.save(made, folder / "made.nii")
    image = sitk.ReadImage(str(folder / "made.nii"))
    for ending in (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr"):
        path = folder / f"image{ending}"
        sitk.WriteImage(image, str(path))
        path = path.with_suffix(".img") if ending == ".hdr" else path
        yield _compared(f"`{ending}` read", "SimpleITK", load_volume(path), image)
    nib.save(nib.MGHImage(values.astype("int32"), FIXED.affine), folder / "image.mgz")
    read, theirs = load_volume(folder / "image.mgz"), nib.load(folder / "image.mgz")
    corners = apart(read.grid.corners(), Grid(theirs.shape, theirs.affine).corners())
    yield "`.mgz` read", "nibabel", corners, float(np.abs(read.array - theirs.get_fdata()).max())
    ours = Volume(values.astype("float32"), FIXED.affine)
    for ending in (".nii.gz", ".nrrd", ".mha"):
        path = folder / f"again{ending}"
        save_volume(path, ours.array, ours)
        yield _compared(f"`{ending}` written", "SimpleITK", ours, sitk.ReadImage(str(path)))


def _compared(what: str, reader: str, ours: Volume, theirs: sitk.Image) -> ImageRow:
    """Corners and values of an image, as we and as they have it."""
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in ours.shape], indexing="ij")).reshape(3, -1).T
    place = np.array([theirs.TransformIndexToPhysicalPoint(e) for e in ends.tolist()]) * LPS
    values = np.abs(ours.array - sitk.GetArrayFromImage(theirs).T).max()
    return what, reader, apart(ours.grid.to_world(ends), place), float(values)


def mesh_rows(folder: Path) -> Iterator[tuple[str, float, float]]:
    """A sphere moved by an affine, against SimpleITK's inverse, and by a field, led forth again."""
    sphere = vtkSphereSource()
    sphere.SetCenter(LPS * FIXED.centre)
    sphere.SetRadius(9)
    sphere.Update()
    start = vtk_to_numpy(sphere.GetOutput().GetPoints().GetData()).astype("float64")
    affine = itk_affine()
    sitk.WriteTransform(affine, str(folder / "affine.tfm"))
    save_transform(folder / "field.nii.gz", Chain((WARP,)))
    forth = sitk.DisplacementFieldTransform(
        sitk.ReadImage(str(folder / "field.nii.gz"), sitk.sitkVectorFloat64)
    )
    readers = {
        ".vtk": vtkPolyDataReader, ".vtp": vtkXMLPolyDataReader, ".ply": vtkPLYReader,
        ".stl": vtkSTLReader, ".obj": vtkOBJReader,
    }  # fmt: skip
    for ending, reader in readers.items():
        mesh, out = folder / f"mesh{ending}", folder / f"moved{ending}"
        save_mesh(mesh, Mesh(start, sphere.GetOutput(), "LPS", True))
        found = []
        for warp in ("affine.tfm", "field.nii.gz"):
            words = ["--warp", folder / warp, "--mesh", mesh, "--out", out, "--overwrite"]
            with contextlib.redirect_stdout(io.StringIO()):
                anyvox(["apply", *map(str, words)])
            made = reader()
            made.SetFileName(str(out))
            made.Update()
            found.append(vtk_to_numpy(made.GetOutput().GetPoints().GetData()).astype("float64"))
        back = affine.GetInverse()
        truth = [back.TransformPoint(p) for p in start.tolist()]
        again = [forth.TransformPoint(p) for p in found[1].tolist()]
        yield ending, _nearest(found[0], truth), _nearest(again, start)


def _nearest(found: np.ndarray, truth: np.ndarray) -> float:
    """The largest distance of a point to its own: a .stl file keeps no order."""
    return float(max(cKDTree(truth).query(found)[0].max(), cKDTree(found).query(truth)[0].max()))


def main() -> None:
    """Print the tables."""
    sitk.ProcessObject_SetGlobalWarningDisplay(False)
    steps: tuple[Callable[[Path], Iterator[Row]], ...] = (
        read_from_itk, read_by_itk, with_nitransforms, with_scipy,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        print("| transform | written by | read by | largest difference, mm |\n|---|---|---|---|")
        for step in steps:
            for what, writer, reader, far in step(Path(name)):
                print(f"| {what} | {writer} | {reader} | {far:.1g} |")
        print("\n| image | other reader | corners, mm | values |\n|---|---|---|---|")
        for what, reader, corners, values in image_rows(Path(name)):
            print(f"| {what} | {reader} | {corners:.1g} | {values:.1g} |")
        print("\n| mesh | moved by an affine, mm | by a field, mm |\n|---|---|---|")
        for ending, linear, bent in mesh_rows(Path(name)):
            print(f"| `{ending}` | {linear:.1g} | {bent:.1g} |")


if __name__ == "__main__":
    main()
