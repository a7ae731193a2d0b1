"""NRRD, MetaImage and DICOM lie where SimpleITK says, with its values."""

import importlib
import locale

import numpy as np
import pytest
import SimpleITK as sitk

from anyvox_keras.cli import main
from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Grid
from anyvox_keras.io import list_images, load_labels, load_reference, load_volume, save_volume

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
INDEX = (3, 1, 2)


@pytest.fixture(autouse=True)
def same_locale():
    """GDCM, called by the tests themselves, leaves the process in the C locale."""
    kept = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, kept)


@pytest.fixture
def image():
    """An oblique image of unequal sides, spacings and values."""
    made = sitk.GetImageFromArray(np.arange(4 * 5 * 6, dtype="int16").reshape(4, 5, 6) - 7)
    made.SetSpacing((0.7, 1.5, 3.0))
    made.SetOrigin((10.0, -20.0, 30.0))
    made.SetDirection(TURN.ravel().tolist())
    return made


def agrees(volume, image):
    """Values and places of all voxels are SimpleITK's."""
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image).T)
    place = image.TransformIndexToPhysicalPoint(INDEX)
    found = volume.grid.to_world(np.array(INDEX)) * (-1, -1, 1)
    np.testing.assert_allclose(found, place, atol=1e-4)
    np.testing.assert_allclose(volume.spacing, image.GetSpacing(), rtol=1e-6)
    return True


def dicom(folder, image, uid="1.2.3", skip=(), tilt=0.0, name=b"T1"):
    """Write a series, a file a slice, as a scanner does."""
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    turn = np.reshape(image.GetDirection(), (3, 3))
    for k in range(image.GetDepth()):
        if k in skip:
            continue
        one = image[:, :, k]
        place = np.array(image.TransformIndexToPhysicalPoint((0, 0, k))) + tilt * k * turn[:, 1]
        tags = {
            "0008|0060": "CT", "0020|000e": uid, "0020|000d": "1.2", "0020|0013": str(k),
            "0008|0018": f"{uid}.{k}", "0008|103e": name.decode(),
            "0020|0032": "\\".join(f"{x:.6f}" for x in place),
            "0020|0037": "\\".join(f"{x:.6f}" for x in turn[:, :2].T.ravel()),
            "0018|0050": str(image.GetSpacing()[2]),
        }  # fmt: skip
        for tag, value in tags.items():
            one.SetMetaData(tag, value)
        # names do not follow the places
        writer.SetFileName(str(folder / f"{uid}_{(k * 3) % 7}.dcm"))
        writer.Execute(one)
    return folder


@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd", ".nii.gz"])
def test_files_lie_where_simpleitk_reads_them(image, tmp_path, ending):
    path = tmp_path / f"image{ending}"
    sitk.WriteImage(image, str(path))
    assert agrees(load_volume(path), image)
    assert load_reference(path).shape == (6, 5, 4)
    assert path in list_images([tmp_path])


def test_a_dicom_series_is_read_from_its_folder(image, tmp_path, monkeypatch):
    scan = dicom(tmp_path / "scan", image)
    assert agrees(load_volume(scan), image)
    assert list_images([scan]) == [scan]
    features = importlib.import_module("anyvox_keras.cli.features")
    asked = []
    monkeypatch.setattr(features, "do_all", lambda job, tasks, *_: asked.extend(tasks))
    assert main(["features", str(scan), str(tmp_path / "f.nii.gz")]) == 0
    assert asked == [features.FeaturesTask(scan, tmp_path / "f.nii.gz")]


def test_a_series_that_is_no_even_straight_stack_is_refused(image, tmp_path):
    with pytest.raises(UserError, match=r"6 mm between .* is one missing"):
        load_volume(dicom(tmp_path / "gap", image, skip=(2,)))
    with pytest.raises(UserError, match="tilted"):
        load_volume(dicom(tmp_path / "tilt", image, tilt=0.8))
    dicom(tmp_path / "two", image, name=b"T1")
    dicom(tmp_path / "two", image, uid="1.2.4", skip=(0,), name=b"T2")
    with pytest.raises(UserError, match=r"T1, 4 files; T2, 3 files|T2, 3 files; T1, 4 files"):
        load_volume(tmp_path / "two")
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="without a DICOM series"):
        load_volume(tmp_path / "none")


def test_images_in_memory_are_taken(image):
    assert agrees(load_volume(image), image)
    assert load_labels(image + 7).array.max() == 119
    colours = sitk.Compose(image, image, image)
    with pytest.raises(UserError, match=r"one value per voxel, received 3 \(colours\?\)"):
        load_volume(colours)
    with pytest.raises(UserError, match="one slice"):
        load_volume(image[:, :, 0])


def test_a_broken_file_is_one_line(tmp_path):
    (tmp_path / "image.nrrd").write_text("NRRD0004\nno header")
    with pytest.raises(UserError, match="cannot be read") as caught:
        load_volume(tmp_path / "image.nrrd")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_what_is_written_lies_where_it_should(image, tmp_path, ending):
    volume = load_volume(image)
    save_volume(tmp_path / f"out{ending}", volume.array, volume)
    again = sitk.ReadImage(str(tmp_path / f"out{ending}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(again.GetDirection(), image.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(again.GetOrigin(), image.GetOrigin(), atol=1e-4)
    features = np.stack([volume.array, 2 * volume.array], -1)
    save_volume(tmp_path / f"features{ending}", features, Grid(volume.shape, volume.affine))
    both = sitk.ReadImage(str(tmp_path / f"features{ending}"))
    assert both.GetNumberOfComponentsPerPixel() == 2
    assert both[INDEX][1] == 2 * image[INDEX]
