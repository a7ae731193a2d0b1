"""Transforms of other programs map points as SimpleITK does; convert, join and invert."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from anyvox_keras.cli import main
from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Chain, Grid, Volume, Warp
from anyvox_keras.io import load_transform, save_transform

LPS = np.array([-1.0, -1.0, 1.0])
GRID = Grid((12, 10, 8), np.array([[0, 2.5, 0, -9], [2, 0, 0, -8], [0, 0, 3, -7], [0, 0, 0, 1.0]]))


@pytest.fixture
def points(rng):
    low, high = GRID.corners().min(0) + 2, GRID.corners().max(0) - 2
    return rng.uniform(low, high, (20, 3))


def linear():
    made = sitk.AffineTransform(3)
    made.SetMatrix([1.1, 0.1, 0, -0.1, 0.9, 0, 0, 0.05, 1])
    made.SetTranslation([1, -2, 0.5])
    made.SetCenter([3, 4, 5])
    return made


def field(rng):
    image = sitk.GetImageFromArray(rng.normal(size=(9, 10, 11, 3)), isVector=True)
    image.SetOrigin((-40, -40, -40))
    image.SetSpacing((8, 8, 9))
    return sitk.DisplacementFieldTransform(image)


def transform(command, folder, *names):
    """Run a command on files of a folder; what begins with a dash or a slash is left as it is."""
    words = (name if name[:1] in "-/" else str(folder / name) for name in names)
    return main(["transform", command, *words])


def by_sitk(transform, points):
    return np.array([transform.TransformPoint(p) for p in (points * LPS).tolist()]) * LPS


def test_matlab_and_hdf5_map_as_in_simpleitk(tmp_path, rng, points):
    both = sitk.CompositeTransform([linear(), field(rng)])
    euler = sitk.Euler3DTransform((1, 2, 3), 0.1, 0.2, 0.3, (4, 5, 6))
    for name, made in (("a.mat", linear()), ("e.mat", euler), ("a.h5", linear()), ("c.h5", both)):
        sitk.WriteTransform(made, str(tmp_path / name))
        found = load_transform(tmp_path / name).points(points)
        np.testing.assert_allclose(found, by_sitk(made, points), atol=1e-5, err_msg=name)


def test_what_is_written_is_read_by_simpleitk(tmp_path, points):
    sitk.WriteTransform(linear(), str(tmp_path / "a.tfm"))
    for name in ("b.mat", "b.txt"):
        assert transform("convert", tmp_path, "a.tfm", name) == 0
        found = by_sitk(sitk.ReadTransform(str(tmp_path / name)), points)
        np.testing.assert_allclose(found, by_sitk(linear(), points), atol=1e-9)


@pytest.mark.parametrize("kind", [0, 1])
def test_freesurfer_maps_the_moving_image_to_the_fixed_one(tmp_path, points, kind):
    """The geometry of a volume is nibabel's reading of an MGH file of it."""
    grids, volumes = [], []
    for shape, cras in (((4, 6, 8), (1, 2, 3)), ((10, 8, 6), (-4, 0, 5))):
        header = nib.MGHImage(np.zeros(shape, "float32"), None).header
        header["Pxyz_c"], header["delta"] = cras, (1, 2, 1.5)
        grids.append(header.get_affine())
        axes = "".join(
            f"{name} = {' '.join(map(str, row))}\n"
            for name, row in zip(("xras", "yras", "zras"), header["Mdc"], strict=True)
        )
        volumes.append(
            f"volume = {' '.join(map(str, shape))}\nvoxelsize = 1 2 1.5\n{axes}"
            f"cras = {' '.join(map(str, cras))}\n"
        )
    world = np.array([[1.1, 0.1, 0, 3], [-0.1, 0.9, 0, 1], [0, 0, 1, -2], [0, 0, 0, 1]])
    stored = world if kind else np.linalg.inv(grids[1]) @ world @ grids[0]
    rows = "\n".join(" ".join(f"{x:.12f}" for x in row) for row in stored)
    (tmp_path / "a.lta").write_text(
        f"type      = {kind} # a comment\nnxforms   = 1\nmean = 0 0 0\nsigma = 1\n1 4 4\n{rows}\n"
        f"src volume info\nvalid = 1\n{volumes[0]}dst volume info\nvalid = 1\n{volumes[1]}"
    )
    found = load_transform(tmp_path / "a.lta").points(points)
    np.testing.assert_allclose(found @ world[:3, :3].T + world[:3, 3], points, atol=1e-6)


MOVING = Grid((9, 11, 10), np.array([[-2.0, 0, 0, 8], [0, 2, 0, -9], [0, 0, 2, -9], [0, 0, 0, 1]]))
WORLD = np.array([[1.1, 0.1, 0, 3], [-0.1, 0.9, 0, 1], [0, 0, 1, -2], [0, 0, 0, 1]])


@pytest.fixture
def images(tmp_path):
    """Files of two scans: one whose axes are swapped, one that runs to the left."""
    paths = []
    for name, grid in (("fixed", GRID), ("moving", MOVING)):
        paths.append(tmp_path / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(np.zeros(grid.shape, "float32"), grid.affine), paths[-1])
    return paths


@pytest.mark.parametrize(("ending", "kind"), [(".mat", "fsl"), (".lta", "fs")])
def test_fsl_and_freesurfer_are_read_and_written_as_by_nitransforms(
    tmp_path, images, points, ending, kind
):
    nitransforms = pytest.importorskip("nitransforms")
    fixed, moving = images
    save_transform(tmp_path / "world.tfm", Chain((WORLD,)))
    flags = ["--fixed", str(fixed), "--moving", str(moving)]
    assert transform("convert", tmp_path, "world.tfm", f"a{ending}", *flags) == 0
    read = nitransforms.linear.load(
        tmp_path / f"a{ending}", fmt=kind, reference=str(fixed), moving=str(moving)
    )
    expected = points @ WORLD[:3, :3].T + WORLD[:3, 3]
    np.testing.assert_allclose(read.map(points), expected, atol=1e-4)
    assert transform("convert", tmp_path, f"a{ending}", "back.tfm", *flags) == 0
    found = by_sitk(sitk.ReadTransform(str(tmp_path / "back.tfm")), points)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # theirs, ours
    theirs = nitransforms.linear.Affine(WORLD, reference=str(fixed))
    theirs.to_filename(tmp_path / f"b{ending}", fmt=kind, moving=str(moving))
    ours = load_transform(tmp_path / f"b{ending}", GRID, MOVING).points(points)
    np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_fsl_without_its_images_is_refused(tmp_path):
    np.savetxt(tmp_path / "a.mat", np.eye(4))
    with pytest.raises(UserError, match="needs both images"):
        load_transform(tmp_path / "a.mat")


def test_what_is_written_as_hdf5_is_read_by_simpleitk(tmp_path, points):
    chain = Chain((smooth(), WORLD))
    save_transform(tmp_path / "c.h5", chain)
    read = sitk.ReadTransform(str(tmp_path / "c.h5"))
    np.testing.assert_allclose(by_sitk(read, points), chain.points(points), atol=1e-5)


@pytest.mark.parametrize("layout", ["voxelmorph", "learn2reg", "nifti"])
def test_displacements_in_voxels_move_images_as_by_scipy(tmp_path, rng, layout):
    """As VoxelMorph and Learn2Reg apply them: `moving[x + u(x)]`."""
    shift = np.stack([ndimage.gaussian_filter(rng.normal(size=GRID.shape), 2) for _ in range(3)])
    moving = rng.normal(size=GRID.shape)
    expected = ndimage.map_coordinates(moving, np.indices(GRID.shape) + shift, order=1)
    if layout == "nifti":
        nib.save(nib.Nifti1Image(np.moveaxis(shift, 0, -1), np.eye(4)), tmp_path / "u.nii.gz")
        chain = load_transform(tmp_path / "u.nii.gz", GRID)
    else:
        np.savez(tmp_path / "u.npz", shift if layout == "learn2reg" else np.moveaxis(shift, 0, -1))
        chain = load_transform(tmp_path / "u.npz", GRID)
    warp = chain.to_warp(GRID)
    found = warp.resample(Volume(moving.astype("float32"), GRID.affine)).array
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-4)
    save_transform(tmp_path / "back.npz", chain)
    with np.load(tmp_path / "back.npz") as back:
        np.testing.assert_allclose(back["arr_0"], np.moveaxis(shift, 0, -1), atol=1e-5)


def test_half_a_field_of_learn2reg_is_enlarged(tmp_path):
    np.savez(tmp_path / "u.npz", np.full((3, 6, 5, 4), 1.5, "float16"))
    found = load_transform(tmp_path / "u.npz", GRID).to_warp(GRID).to_voxels()
    np.testing.assert_allclose(found, 1.5, atol=1e-3)


def smooth():
    place = GRID.voxels() / (np.array(GRID.shape) - 1) * np.pi
    return Warp(1.5 * np.sin(place) * np.sin(place[..., ::-1]), GRID)


def test_a_chain_is_its_parts_in_their_order(tmp_path, points):
    sitk.WriteTransform(linear(), str(tmp_path / "a.tfm"))
    save_transform(tmp_path / "w.nii.gz", Chain((smooth(),)))
    assert transform("compose", tmp_path, "w.nii.gz", "a.tfm", "both.nii.gz") == 0
    on_grid = GRID.to_world(GRID.voxels()[1:-1, 1:-1, 1:-1].reshape(-1, 3))
    expected = by_sitk(linear(), smooth().points(on_grid))
    found = load_transform(tmp_path / "both.nii.gz").points(on_grid)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (
        main(["transform", "compose", *(str(tmp_path / n) for n in ("a.tfm", "w.nii.gz", "c.tfm"))])
        == 2
    )


def test_there_and_back(tmp_path, points):
    save_transform(tmp_path / "w.nii.gz", Chain((smooth(),)))
    assert (
        main(["transform", "invert", *(str(tmp_path / n) for n in ("w.nii.gz", "i.nii.gz"))]) == 0
    )
    back = load_transform(tmp_path / "i.nii.gz").points(smooth().points(points))
    np.testing.assert_allclose(back, points, atol=0.15)
    matrix = Chain((np.diag([2.0, 1, 1, 1]),)).inverse().matrix
    np.testing.assert_allclose(matrix, np.diag([0.5, 1, 1, 1]))
    folded = Warp(-3 * (GRID.to_world(GRID.voxels()) - GRID.centre), GRID)
    with pytest.raises(UserError, match="folds"):
        Chain((folded,)).inverse()


def test_the_jacobian_is_the_change_of_volume(tmp_path, capsys):
    wide = Warp(0.1 * (GRID.to_world(GRID.voxels()) - GRID.centre), GRID)
    save_transform(tmp_path / "w.nii.gz", Chain((wide,)))
    assert (
        main(["transform", "jacobian", *(str(tmp_path / n) for n in ("w.nii.gz", "j.nii.gz"))]) == 0
    )
    np.testing.assert_allclose(nib.load(tmp_path / "j.nii.gz").get_fdata(), 1.1**3, rtol=1e-4)
    assert capsys.readouterr().out == f"{tmp_path / 'j.nii.gz'}: 1.33 to 1.33, folds 0.000 %\n"


@pytest.mark.parametrize("name", ["a.mat", "a.h5", "a.lta", "a.xyz", "absent.tfm"])
def test_other_files_are_refused_in_one_line(tmp_path, name):
    if not name.startswith("absent"):
        (tmp_path / name).write_text("1 0 0 0\n")
    with pytest.raises(UserError, match="a transform") as caught:
        load_transform(tmp_path / name)
    assert "\n" not in str(caught.value)
