"""Outputs keep the geometry, appear whole and replace nothing unasked."""

import json
import os

import nibabel as nib
import numpy as np
import pytest

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Grid, Volume
from anyvox_keras.io import atomic, check_output, load_labels, load_volume, save_json, save_volume

GRID = Grid((3, 4, 5), np.diag([-1.0, 2, 3, 1]))


def test_header_and_form_codes_are_kept(tmp_path, rng):
    source = nib.Nifti1Image(rng.normal(size=(3, 4, 5)).astype("int16"), GRID.affine)
    source.set_qform(GRID.affine, code=1)
    source.set_sform(GRID.affine, code=4)
    source.header.set_xyzt_units("mm", "sec")
    source.header.set_slope_inter(3.0, 2.0)
    like = Volume(np.zeros(GRID.shape, "float32"), source.affine, source.header)
    array = rng.normal(size=GRID.shape)
    save_volume(tmp_path / "out.nii.gz", array, like)
    saved = nib.load(tmp_path / "out.nii.gz")
    assert saved.get_data_dtype() == np.float32
    assert (int(saved.header["qform_code"]), int(saved.header["sform_code"])) == (1, 4)
    assert saved.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_array_equal(saved.affine, GRID.affine)
    np.testing.assert_allclose(saved.get_fdata(), array, rtol=1e-6)


def test_features_have_channels_last(tmp_path, rng):
    features = rng.normal(size=(*GRID.shape, 6)).astype("float32")
    save_volume(tmp_path / "f.nii.gz", features, GRID)
    np.testing.assert_array_equal(nib.load(tmp_path / "f.nii.gz").get_fdata(), features)


@pytest.mark.parametrize(
    ("top", "stored"), [(1, "uint8"), (255, "uint8"), (256, "uint16"), (70_000, "int32")]
)
def test_integers_survive(tmp_path, top, stored):
    labels = np.zeros(GRID.shape, "int32")
    labels[1, 2, 3] = top
    save_volume(tmp_path / "l.nii.gz", labels, GRID)
    assert nib.load(tmp_path / "l.nii.gz").get_data_dtype() == np.dtype(stored)
    np.testing.assert_array_equal(load_labels(tmp_path / "l.nii.gz").array, labels)


def test_save_then_load_is_identity(tmp_path, rng):
    array = rng.normal(size=GRID.shape).astype("float32")
    save_volume(tmp_path / "a.nii.gz", array, GRID)
    volume = load_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, GRID.affine)


def test_wrong_use_is_refused(tmp_path):
    with pytest.raises(UserError, match="ending"):
        save_volume(tmp_path / "a.png", np.zeros(GRID.shape), GRID)
    with pytest.raises(ValueError, match="array"):
        save_volume(tmp_path / "a.nii", np.zeros((2, 2, 2)), GRID)


@pytest.mark.parametrize(
    ("value", "message"),
    [(2**31, "fit int32"), (-(2**31) - 1, "fit int32"), (1e300, "fit float32"), (1j, "real")],
)
def test_what_no_stored_type_holds_is_refused(tmp_path, value, message):
    with pytest.raises(ValueError, match=f"array`?:? .*{message}"):
        save_volume(tmp_path / "a.nii", np.full(GRID.shape, value), GRID)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_unasked(tmp_path):
    path = tmp_path / "a.nii"
    path.write_text("precious")
    with pytest.raises(UserError, match="exists already"):
        save_volume(path, np.zeros(GRID.shape), GRID)
    assert path.read_text() == "precious"
    save_volume(path, np.zeros(GRID.shape), GRID, overwrite=True)
    assert nib.load(path).shape == GRID.shape


def fail_halfway(path):
    with atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError


def test_a_failed_write_leaves_the_old_file_and_no_trace(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        fail_halfway(path)
    assert os.listdir(tmp_path) == ["a.txt"]
    assert path.read_text() == "old"


def test_folder_that_cannot_be_made_is_found_before_computing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        check_output(tmp_path / "file" / "out.nii.gz")
    with pytest.raises(UserError, match="received a folder"):
        check_output(tmp_path)


def test_json_has_no_nan_and_no_numpy(tmp_path):
    content = {"dice": {1: np.float32(0.5), 2: float("nan")}, "hd95": np.array([np.inf, 2.0])}
    save_json(tmp_path / "m.json", content)
    text = (tmp_path / "m.json").read_text()
    assert json.loads(text) == {"dice": {"1": 0.5, "2": None}, "hd95": [None, 2.0]}
