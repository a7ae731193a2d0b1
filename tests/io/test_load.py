"""What readers accept, and the one clear line for what they refuse."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Volume
from anyvox_keras.io import load_labels, load_mask, load_volume

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.1, -0.05, 0.15) @ np.diag([1.9, 1.9, 3]), [-20, 5, 7]
)


def write(path, array, affine=OBLIQUE, **header):
    image = nib.Nifti1Image(array, affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


@pytest.fixture
def values(rng):
    return rng.normal(size=(6, 7, 8)).astype("float32")


def test_image_keeps_values_and_affine(tmp_path, values):
    volume = load_volume(write(tmp_path / "a.nii.gz", values))
    np.testing.assert_array_equal(volume.array, values)
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-6)
    np.testing.assert_allclose(volume.spacing, np.linalg.norm(OBLIQUE[:3, :3], axis=0), atol=1e-6)
    assert volume.finite is None


def test_scaled_integers_are_scaled(tmp_path):
    image = nib.Nifti1Image(np.arange(8.0).reshape(2, 2, 2), np.eye(4))
    image.set_data_dtype("int16")
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "a.nii")
    expected = 0.5 * np.arange(8) - 3
    np.testing.assert_allclose(load_volume(tmp_path / "a.nii").array.ravel(), expected)


def test_nibabel_images_volumes_and_arrays_are_images(values):
    image = nib.Nifti1Image(values, OBLIQUE)
    volume = load_volume(image)
    assert load_volume(volume) is volume
    np.testing.assert_array_equal(load_volume(values).array, volume.array)


def test_four_dimensions_with_one_volume_are_squeezed(tmp_path, values):
    assert load_volume(write(tmp_path / "a.nii", values[..., None])).shape == values.shape


def test_scattered_nan_warns_and_is_remembered(tmp_path, values):
    values[0, 0, :2] = np.nan, np.inf
    with pytest.warns(UserWarning, match="2 voxels are not finite"):
        volume = load_volume(write(tmp_path / "a.nii", values))
    assert (~volume.finite).sum() == 2
    assert np.isfinite(volume.array).all()
    assert volume.array[0, 0, 0] == values[np.isfinite(values)].min()


def test_float64_beyond_float32_counts_as_infinite(values):
    values = values.astype("float64")
    values[1, 1, 1] = 1e300
    with pytest.warns(UserWarning, match="1 voxels"):
        assert not load_volume(values).finite[1, 1, 1]


def broken_files(folder, values):
    """Return each bad file with what the message must say."""
    text = folder / "text.nii.gz"
    text.write_text("not an image")
    cut = folder / "cut.nii.gz"
    whole = gzip.compress(nib.Nifti1Image(np.tile(values, (5, 5, 5)), OBLIQUE).to_bytes())
    cut.write_bytes(whole[: len(whole) // 2])
    short = folder / "short.nii"
    short.write_bytes(nib.Nifti1Image(values, OBLIQUE).to_bytes()[:500])
    plain = folder / "plain.txt"
    plain.write_text("not an image")
    flat = np.zeros((6, 7, 8, 3), "float32")
    colour = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    return {
        folder / "missing.nii.gz": "does not exist",
        folder: "folder",
        text: "cannot be read",
        cut: "cannot be read",
        short: "cannot be read",
        plain: "cannot be read",
        write(folder / "flat.nii", values[0]): "3D",
        write(folder / "thin.nii", values[:1]): "one slice",
        write(folder / "shifted.nii", values[None]): "4D",
        write(folder / "series.nii", flat): "4D",
        write(folder / "constant.nii", flat[..., 0]): "varies",
        write(folder / "nan.nii", flat[..., 0] * np.nan): "finite",
        write(folder / "colour.nii", colour): "one real number",
    }


def test_unusable_images_get_one_line_that_names_the_file(tmp_path, values):
    for path, reason in broken_files(tmp_path, values).items():
        with pytest.raises(UserError, match=reason) as caught:
            load_volume(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_singular_affine_is_refused(tmp_path, values):
    path = write(tmp_path / "a.nii", values, np.diag([2.0, 2, 2, 1]))
    raw = bytearray(path.read_bytes())
    raw[280:296] = bytes(16)  # the header's srow_x: the first axis leads nowhere
    path.write_bytes(raw)
    with pytest.raises(UserError, match="invertible"):
        load_volume(path)


def test_labels_are_int32(tmp_path):
    raw = np.arange(27, dtype="float32").reshape(3, 3, 3)
    labels = load_labels(write(tmp_path / "a.nii", raw)).array
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, raw)


@pytest.mark.parametrize(("value", "reason"), [(0.5, "integer"), (np.nan, "integer"), (-1, "0 up")])
def test_labels_must_be_integers_from_zero(tmp_path, value, reason):
    raw = np.zeros((3, 3, 3), "float32")
    raw[1, 1, 1] = value
    with pytest.raises(UserError, match=reason):
        load_labels(write(tmp_path / "a.nii", raw))


def test_mask_must_fit_its_image_and_hold_something(values):
    image = load_volume(nib.Nifti1Image(values, OBLIQUE))
    ones = np.ones(values.shape, "uint8")
    assert load_mask(nib.Nifti1Image(ones, OBLIQUE), image).array.all()
    with pytest.raises(UserError, match="above zero"):
        load_mask(nib.Nifti1Image(0 * ones, OBLIQUE), image)
    with pytest.raises(UserError, match=r"expected the shape \(6, 7, 8\).* received \(5, 7, 8\)"):
        load_mask(nib.Nifti1Image(ones[1:], OBLIQUE), image)
    with pytest.raises(UserError, match="expected the affine"):
        load_mask(nib.Nifti1Image(ones, np.eye(4)), image)


def test_real_scans_load(data):
    for path in sorted((data / "data" / "native").glob("*.nii.gz")):
        volume = load_volume(path)
        assert volume.shape == nib.load(path).shape
        assert volume.array.dtype == np.float32


def test_a_large_offset_leaves_the_steps(tmp_path):
    steps = np.arange(50).repeat(8).reshape(8, 10, 5)
    for raw in (
        steps + 2**30,
        (steps + 2**30).astype("int32"),
        -(2**30) - steps,
        (steps + 2**62).astype("uint64"),
        1e9 + 10.0 * steps,
    ):
        with pytest.warns(UserWarning, match="is subtracted"):
            found = load_volume(raw).array.astype("float64")
        np.testing.assert_array_equal(found, raw - raw.min())


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "f2"])
def test_every_type_keeps_its_values(tmp_path, kind):
    raw = np.arange(60).reshape(3, 4, 5).astype(kind)
    np.testing.assert_array_equal(load_volume(raw).array, np.arange(60).reshape(3, 4, 5))
    if kind != "f2":
        image = nib.Nifti1Image(raw, np.eye(4), dtype=raw.dtype)
        image.header.set_slope_inter(2, -7)
        nib.save(image, tmp_path / "a.nii.gz")
        expected = nib.load(tmp_path / "a.nii.gz").get_fdata()
        np.testing.assert_array_equal(load_volume(tmp_path / "a.nii.gz").array, expected)


def test_masked_voxels_and_volumes_with_nan_count_as_not_finite(values):
    masked = np.ma.masked_array(values, values > 2.0)
    broken = Volume(np.where(values > 2.0, np.nan, values), np.eye(4))
    for source in (masked, broken):
        with pytest.warns(UserWarning, match="not finite"):
            volume = load_volume(source)
        np.testing.assert_array_equal(volume.finite, values <= 2.0)
        assert np.isfinite(volume.array).all()


@pytest.mark.parametrize("side", [1500, 2000, 32767])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_header_that_lies_is_refused_unread(tmp_path, side, ending):
    raw = bytearray(nib.Nifti1Image(np.zeros((4, 4, 4), "int16"), np.eye(4)).to_bytes())
    raw[40:56] = struct.pack("<8h", 3, side, side, side, 1, 1, 1, 1)
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(raw) if ending == ".nii.gz" else raw)
    with pytest.raises(UserError, match="its header claims"):
        load_volume(path)


def test_a_gzip_whose_checksum_differs_is_damaged(tmp_path, rng):
    array = rng.integers(0, 99, (9, 8, 7)).astype("int16")
    raw = nib.Nifti1Image(array, np.eye(4)).to_bytes()
    whole = gzip.compress(raw[:400]) + gzip.compress(raw[400:])  # as dcm2niix and pigz may write
    path = tmp_path / "a.nii.gz"
    for trailing in (b"", bytes(512), b"text"):
        path.write_bytes(whole + trailing)
        np.testing.assert_array_equal(load_volume(path).array, array)
    flipped = bytearray(gzip.compress(raw, compresslevel=0))
    flipped[-100] ^= 4  # a voxel
    for broken in (bytes(flipped), whole[:-8] + bytes(8), whole[:-4]):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"a\.nii\.gz: .* cannot be read \("):
            load_volume(path)


@pytest.mark.parametrize("code", [1, 1536, 9999, 32, 128])
def test_types_that_are_no_real_number_are_one_line(tmp_path, code):
    raw = bytearray(nib.Nifti1Image(np.zeros((4, 4, 4), "int16"), np.eye(4)).to_bytes())
    raw[70:72] = struct.pack("<h", code)
    (tmp_path / "a.nii").write_bytes(raw + bytes(4096))
    with pytest.raises(UserError, match="expected"):
        load_volume(tmp_path / "a.nii")
