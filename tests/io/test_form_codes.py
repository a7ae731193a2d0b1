"""Where files lie: as SimpleITK reads them, or a line that names both readings."""

import struct
import warnings

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Grid, Volume
from anyvox_keras.io import load_reference, load_volume, prefer_form, save_volume, save_warp

ARRAY = np.arange(4 * 5 * 6, dtype="float32").reshape(4, 5, 6)
SFORM = np.array([[2.0, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
QFORM = np.array([[-2.0, 0, 0, 30], [0, 2, 0, -10], [0, 0, 3, 0], [0, 0, 0, 1]])
NEAR = SFORM + np.array([[0, 0, 0, 0.01]] + [[0] * 4] * 3)
SHEAR = SFORM + np.array([[0, 0.4, 0, 0]] + [[0] * 4] * 3)


def write(path, sform, qform, codes, unit=2, zooms=None):
    image = nib.Nifti1Image(ARRAY, np.eye(4))
    image.set_qform(qform, codes[1], strip_shears=True)
    image.set_sform(sform, codes[0])
    image.header["xyzt_units"] = unit
    raw = bytearray(image.to_bytes())
    if zooms is not None:
        raw[80:92] = struct.pack("<3f", *zooms)
    path.write_bytes(raw)
    return path


def itk(path):
    """The affine, mm, RAS, as SimpleITK sees the file."""
    image = sitk.ReadImage(str(path))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ matrix


def read(path):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        return load_volume(path), [str(one.message) for one in told]


@pytest.mark.parametrize("codes", [(s, q) for s in range(5) for q in range(3)])
@pytest.mark.parametrize("forms", [(SFORM, QFORM), (SFORM, SFORM), (SFORM, NEAR), (SHEAR, SHEAR)])
def test_forms_are_chosen_as_sitk_does(tmp_path, codes, forms):
    path = write(tmp_path / "a.nii", *forms, codes)
    try:
        theirs = itk(path)
    except RuntimeError:  # a shear and nothing else
        with pytest.raises(UserError, match="shear"):
            load_volume(path)
        return
    volume, told = read(path)
    np.testing.assert_allclose(volume.affine, theirs, atol=1e-5)
    several = 0 not in codes and forms[1] is not NEAR and forms[0] is not forms[1]
    several |= 0 not in codes and forms[0] is SHEAR
    assert bool(told) == (several or codes == (0, 0))
    assert all("apart; took" in line for line in told)


@pytest.mark.parametrize("unit", range(6))
@pytest.mark.parametrize("codes", [(1, 1), (0, 0), (2, 0)])
def test_units_are_millimetres_as_in_sitk(tmp_path, unit, codes):
    path = write(tmp_path / "a.nii", SFORM, SFORM, codes, unit)
    np.testing.assert_allclose(read(path)[0].affine, itk(path), rtol=1e-6)


@pytest.mark.parametrize("zooms", [(2.5, 2, 3), (1, 1, 1), (0, 2, 3)])
@pytest.mark.parametrize("codes", [(1, 0), (1, 1), (4, 0)])
def test_spacing_is_the_headers_as_in_sitk(tmp_path, zooms, codes):
    path = write(tmp_path / "a.nii", SFORM, SFORM, codes, zooms=zooms)
    volume, told = read(path)
    np.testing.assert_allclose(volume.affine, itk(path), atol=1e-5)
    assert any("spacing of pixdim" in line for line in told)


@pytest.mark.parametrize("size", [1e-4, 1e-3, 50.0, 1e4])
def test_no_voxel_is_too_small_or_too_large(tmp_path, size):
    affine = np.diag([size, size, size, 1])
    path = write(tmp_path / "a.nii", affine, affine, (1, 1))
    np.testing.assert_allclose(read(path)[0].affine, itk(path), rtol=1e-6)
    np.testing.assert_allclose(Grid((4, 4, 4), affine).spacing, size)


def test_the_form_can_be_chosen(tmp_path):
    path = write(tmp_path / "a.nii", SFORM, QFORM, (4, 1))
    for form, expected in (("sform", SFORM), ("qform", QFORM)):
        with prefer_form(form), warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_allclose(load_reference(path).affine, expected, atol=1e-5)
    with pytest.raises(ValueError, match="`form`"), prefer_form("both"):
        pass


@pytest.mark.parametrize("codes", [(4, 1), (1, 1), (0, 0), (0, 2)])
def test_what_we_write_lies_where_we_read_it(tmp_path, codes):
    volume, _ = read(write(tmp_path / "a.nii", SFORM, QFORM, codes, unit=3))
    save_volume(tmp_path / "b.nii.gz", volume.array, volume)
    save_warp(tmp_path / "w.nii.gz", np.zeros((*volume.shape, 3)), volume.grid)
    for name in ("b", "w"):
        np.testing.assert_allclose(itk(tmp_path / f"{name}.nii.gz"), volume.affine, atol=1e-7)
    again, told = read(tmp_path / "b.nii.gz")
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-7)
    assert not told


def test_a_shear_is_not_written(tmp_path):
    for write_it in (
        lambda: save_volume(tmp_path / "a.nii", ARRAY, Grid(ARRAY.shape, SHEAR)),
        lambda: save_warp(tmp_path / "a.nii", np.zeros((4, 4, 4, 3)), Grid((4, 4, 4), SHEAR)),
        lambda: load_volume(Volume(ARRAY, SHEAR)),
    ):
        with pytest.raises(UserError, match="shear"):
            write_it()


@pytest.mark.parametrize("zooms", [(-2, 2, 3), (0, 2, 3)])
def test_a_header_that_is_mended_is_told_once(tmp_path, capfd, zooms):
    path = write(tmp_path / "a.nii", SFORM, SFORM, (1, 1), zooms=zooms)
    with pytest.warns(UserWarning, match=r"a\.nii: pixdim\[1,2,3\] should be"):
        load_volume(path)
    assert "pixdim" not in capfd.readouterr().err


@pytest.mark.parametrize("codes", [(0, 99), (99, 0), (99, 99), (1, 99), (99, 1)])
def test_a_form_of_an_unknown_code_counts_as_in_sitk(tmp_path, codes):
    path = write(tmp_path / "a.nii", SFORM, QFORM, (1, 1))
    raw = bytearray(path.read_bytes())
    raw[252:256] = struct.pack("<2h", codes[1], codes[0])
    path.write_bytes(raw)
    volume, told = read(path)
    np.testing.assert_allclose(volume.affine, itk(path), atol=1e-5)
    assert "form_code 99 is not NIfTI's" in told[0]
