"""`anyvox apply` against SimpleITK, and its mistakes."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from anyvox_keras.cli import main
from anyvox_keras.geometry import Grid
from anyvox_keras.io import (
    load_points,
    load_warp,
    read_landmarks,
    save_points,
    save_volume,
    save_warp,
)

FIXED_AFFINE = np.array([[-2.0, 0.2, 0, 9], [0.2, 2, 0, 1], [0, 0, 3, -4], [0, 0, 0, 1]])
FIXED = Grid((12, 14, 10), FIXED_AFFINE)
MOVING = Grid((16, 16, 14), np.diag([1.5, 1.5, 2.5, 1]))


@pytest.fixture
def folder(tmp_path, rng):
    """A warp, a moving image, its labels and the fixed image."""
    bend = ndimage.gaussian_filter(rng.normal(size=(*FIXED.shape, 3)), (2, 2, 2, 0)) * 20
    image = ndimage.gaussian_filter(rng.normal(size=MOVING.shape), 1).astype("float32")
    save_warp(tmp_path / "warp.nii.gz", bend, FIXED)
    save_volume(tmp_path / "moving.nii.gz", image, MOVING)
    save_volume(tmp_path / "labels.nii.gz", (image > 0).astype("int32") * 7, MOVING)
    save_volume(tmp_path / "fixed.nii.gz", np.zeros(FIXED.shape), FIXED)
    return tmp_path


def test_what_was_written_is_said(folder, capsys):
    assert main(arguments(folder)) == 0
    assert capsys.readouterr().out == f"{folder / 'out.nii.gz'}: {FIXED}\n"
    save_points(folder / "p.csv", np.array([[1.0, 2.0, 3.0]]))
    files = ["--warp", folder / "warp.nii.gz", "--points", folder / "p.csv", "--out"]
    assert main(["apply", *map(str, files), str(folder / "q.csv")]) == 0
    assert capsys.readouterr().out == f"{folder / 'q.csv'}: 1 points\n"


def arguments(folder, image="moving", reference="fixed", out="out.nii.gz", *more):
    names = {"--warp": "warp", "--image": image, "--reference": reference}
    files = [word for key, name in names.items() for word in (key, str(folder / f"{name}.nii.gz"))]
    return ["apply", *files, "--out", str(folder / out), *more]


def theirs(folder, image, interpolator):
    field = sitk.ReadImage(str(folder / "warp.nii.gz"), sitk.sitkVectorFloat64)
    reference = sitk.ReadImage(str(folder / "fixed.nii.gz"))
    moving = sitk.ReadImage(str(folder / f"{image}.nii.gz"))
    transform = sitk.DisplacementFieldTransform(field)
    return sitk.GetArrayFromImage(sitk.Resample(moving, reference, transform, interpolator)).T


def test_image_equals_sitk(folder):
    assert main([*arguments(folder), "--outside", "0"]) == 0
    ours = nib.load(folder / "out.nii.gz")
    assert ours.get_data_dtype() == np.float32
    np.testing.assert_allclose(ours.affine, FIXED.affine, atol=1e-5)
    difference = np.abs(ours.get_fdata() - theirs(folder, "moving", sitk.sitkLinear))
    assert (difference < 1e-4).mean() > 0.995


def test_splines_equal_sitk(folder):
    assert main([*arguments(folder), "--outside", "0", "--interpolation", "bspline"]) == 0
    ours = nib.load(folder / "out.nii.gz").get_fdata()
    difference = np.abs(ours - theirs(folder, "moving", sitk.sitkBSpline))
    assert (difference < 1e-4).mean() > 0.99
    linear = np.abs(ours - theirs(folder, "moving", sitk.sitkLinear))
    assert (linear > 1e-2).mean() > 0.05
    labels = arguments(folder, "labels", "fixed", "out2.nii.gz", "--labels")
    assert main([*labels, "--interpolation", "linear"]) == 2


def test_several_images_and_series_move_as_each_alone(folder, rng):
    series = np.stack(
        [nib.load(folder / "moving.nii.gz").get_fdata(), rng.random(MOVING.shape)], -1
    )
    save_volume(folder / "series.nii.gz", series, MOVING)
    save_volume(folder / "second.nii.gz", series[..., 1], MOVING)
    several = arguments(folder, "moving", "fixed", "all")
    for name in ("series", "second"):
        several += ["--image", str(folder / f"{name}.nii.gz")]
    several += ["--outside", "0"]
    assert main(several) == 0
    assert main([*arguments(folder), "--outside", "0"]) == 0
    one, first, second, both = (
        nib.load(folder / name).get_fdata()
        for name in ("out.nii.gz", "all/moving.nii.gz", "all/second.nii.gz", "all/series.nii.gz")
    )
    np.testing.assert_array_equal(first, one)
    np.testing.assert_array_equal(both, np.stack([first, second], -1))
    assert main(several) == 2  # nothing is overwritten unasked


def test_labels_equal_sitk(folder):
    assert main(arguments(folder, "labels", "fixed", "out.nii.gz", "--labels")) == 0
    ours = nib.load(folder / "out.nii.gz")
    assert ours.get_data_dtype() == np.uint8
    truth = theirs(folder, "labels", sitk.sitkNearestNeighbor)
    assert (ours.get_fdata() == truth).mean() > 0.995
    assert set(np.unique(ours.get_fdata())) == {0, 7}


@pytest.mark.parametrize("ras", [False, True])
def test_points_equal_sitk(folder, rng, ras):
    signs = np.array([1, 1, 1]) if ras else np.array([-1, -1, 1])
    voxels = rng.uniform(1, np.asarray(FIXED.shape) - 2, (20, 3))
    save_points(folder / "in.csv", FIXED.to_world(voxels) * signs)
    files = ["--warp", folder / "warp.nii.gz", "--points", folder / "in.csv"]
    out = folder / "out.csv"
    assert main(["apply", *map(str, files), "--out", str(out), *(["--ras"] if ras else [])]) == 0
    field = sitk.ReadImage(str(folder / "warp.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    lps = FIXED.to_world(voxels) * [-1, -1, 1]
    truth = np.array([transform.TransformPoint(point.tolist()) for point in lps])
    np.testing.assert_allclose(load_points(out), truth * [-1, -1, 1] * signs, atol=1e-3)


def test_points_outside_warn(folder, capsys):
    save_points(folder / "in.csv", np.array([[5.0, -9, 2], [1e4, 0, 0]]))
    files = ["--warp", folder / "warp.nii.gz", "--points", folder / "in.csv"]
    assert main(["apply", *map(str, files), "--out", str(folder / "out.csv")]) == 0
    assert "1 of 2 points" in capsys.readouterr().err
    warp = load_warp(folder / "warp.nii.gz")
    truth = warp.affine[:3, :3] @ [-1e4, 0, 0] + warp.affine[:3, 3]
    np.testing.assert_allclose(load_points(folder / "out.csv")[1], truth * [-1, -1, 1], rtol=1e-6)


def test_names_and_columns_of_points_survive(folder):
    text = "\ufeffName;X;Y;Z;Comment\nleft;1,5;2;3;sure\n\nright;4;5;6;\n"
    (folder / "in.csv").write_text(text, encoding="utf-8")
    files = ["--warp", folder / "warp.nii.gz", "--points", folder / "in.csv"]
    assert main(["apply", *map(str, files), "--out", str(folder / "out.csv")]) == 0
    assert main(["apply", *map(str, files), "--out", str(folder / "out.mrk.json")]) == 0
    rows = [line.split(";") for line in (folder / "out.csv").read_text().splitlines()]
    assert [row[0] for row in rows] == ["Name", "left", "right"]
    assert [row[4] for row in rows] == ["Comment", "sure", ""]
    json_file = read_landmarks(folder / "out.mrk.json")
    assert [row["label"] for row in json_file.rows] == ["left", "right"]
    np.testing.assert_allclose(json_file.points, load_points(folder / "out.csv"), atol=1e-5)


def test_beyond_the_image_lies_its_own_background(folder):
    image = np.full(MOVING.shape, -1000, "float32")
    image[4:12, 4:12, 4:10] = 50
    wide = Grid((30, 8, 8), np.diag([2.0, 2, 2, 1]))
    save_warp(folder / "still.nii.gz", np.zeros((*wide.shape, 3)), wide)
    save_volume(folder / "ct.nii.gz", image, MOVING)
    image[5, 5, 5] = np.nan
    save_volume(folder / "map.nii.gz", image, MOVING)
    save_volume(folder / "wide.nii.gz", np.zeros(wide.shape), wide)
    save_volume(folder / "ones.nii.gz", np.ones(MOVING.shape), MOVING)
    found = {}
    for name, more in (("ct", ()), ("map", ("--outside", "7")), ("ones", ())):
        files = {"--warp": "still", "--image": name, "--reference": "wide", "--out": f"{name}_"}
        words = [word for k, v in files.items() for word in (k, str(folder / f"{v}.nii.gz"))]
        assert main(["apply", *words, *more]) == 0
        found[name] = nib.load(folder / f"{name}_.nii.gz").get_fdata()
    assert (found["ct"][20:] == -1000).all()
    assert (found["map"][20:] == 7).all()
    assert np.isnan(found["map"]).sum() == 1  # 2 mm voxels: one is nearest to the one of 1.5 mm
    # all voxels around the one of NaN are 50: none mixes in what stands in for it
    known = np.isfinite(found["map"]) & (found["map"] != 7)
    np.testing.assert_allclose(found["map"][known], found["ct"][known])
    assert (found["ones"] == 1).all()


def test_an_output_replaces_no_input(folder, capsys):
    before = (folder / "moving.nii.gz").read_bytes()
    assert main([*arguments(folder, out="moving.nii.gz"), "--overwrite"]) == 2
    assert "replace an input" in capsys.readouterr().err
    assert (folder / "moving.nii.gz").read_bytes() == before


def test_existing_output_is_kept_unless_overwritten(folder, capsys):
    (folder / "out.nii.gz").write_text("precious")
    assert main(arguments(folder)) == 2
    assert "exists already" in capsys.readouterr().err
    assert (folder / "out.nii.gz").read_text() == "precious"
    assert main([*arguments(folder), "--overwrite"]) == 0
    assert nib.load(folder / "out.nii.gz").shape == FIXED.shape


def test_wrong_files_are_one_line(folder, capsys):
    far = MOVING.affine.copy()
    far[:3, 3] = 1e4
    save_volume(folder / "far.nii.gz", np.eye(16)[..., None] * np.ones(14), Grid(MOVING.shape, far))
    for wrong, reason in (
        (arguments(folder, reference="moving"), "inside the warp's"),
        (arguments(folder, image="far"), "leads elsewhere"),
        (arguments(folder, image="none"), "does not exist"),
        (arguments(folder, "moving", "fixed", "out.nii.gz", "--labels"), "integer"),
        (arguments(folder, out="out.img"), "ending"),
        (
            arguments(folder, "labels", "fixed", "out.nii.gz", "--labels", "--outside", "inf"),
            "0 up",
        ),
    ):
        assert main(wrong) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert reason in lines[0]
        assert not list(folder.glob("out*"))


def test_several_transforms_are_one(folder):
    """Beyond the field a turned image; without a reference the warp's own grid, as SimpleITK."""
    turn = sitk.Euler3DTransform((0, 0, 0), 0.05, 0, 0.1, (1, 2, 0))
    sitk.WriteTransform(turn, str(folder / "turn.tfm"))
    field = sitk.DisplacementFieldTransform(
        sitk.ReadImage(str(folder / "warp.nii.gz"), sitk.sitkVectorFloat64)
    )
    moving = sitk.ReadImage(str(folder / "moving.nii.gz"), sitk.sitkFloat32)
    # of a composite the last acts first
    both = sitk.CompositeTransform([turn, field])
    expected = sitk.Resample(moving, sitk.ReadImage(str(folder / "fixed.nii.gz")), both)
    words = ["--warp", "warp.nii.gz", "--warp", "turn.tfm", "--image", "moving.nii.gz"]
    words += ["--out", "out.nrrd"]
    named = [str(folder / word) if "." in word else word for word in words]
    assert main(["apply", *named, "--outside", "0"]) == 0
    found = sitk.ReadImage(str(folder / "out.nrrd"))
    inside = (slice(3, -3),) * 3
    arrays = [sitk.GetArrayFromImage(image)[inside] for image in (found, expected)]
    np.testing.assert_allclose(*arrays, atol=1e-3 * float(np.abs(arrays[1]).max()))
