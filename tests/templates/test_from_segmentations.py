"""Folders of segmentations become banks; the folders stay as they are."""

import nibabel as nib
import numpy as np
import pytest

from anyvox_keras.errors import UserError
from anyvox_keras.templates import TemplateBank


def _save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.MGHImage if path.suffix == ".mgz" else nib.Nifti1Image
    nib.save(image(array.astype("uint8"), np.eye(4)), path)


def _box(low, high, shape=(12, 12, 12), value=1):
    array = np.zeros(shape)
    array[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = value
    return array


@pytest.fixture
def folder(tmp_path):
    case = tmp_path / "s0001" / "segmentations"
    _save(case / "liver.nii.gz", _box((1, 1, 1), (5, 6, 7)))
    _save(case / "rib_left_1.nii.gz", _box((0, 0, 0), (2, 2, 2)))
    _save(case / "rib_right_1.nii.gz", _box((8, 8, 8), (12, 12, 12)))
    _save(case / "vertebrae_L1.nii.gz", _box((3, 3, 0), (6, 6, 3)))
    _save(case / "vertebrae_L2.nii.gz", _box((3, 3, 4), (6, 6, 9)))
    _save(case / "empty.nii.gz", np.zeros((12, 12, 12)))
    _save(tmp_path / "atlas.mgz", _box((0, 0, 0), (3, 3, 3)) + _box((5, 5, 5), (9, 9, 6), value=7))
    return tmp_path


def test_layouts_are_understood(folder):
    bank = TemplateBank.from_segmentations(folder)
    case = "s0001/segmentations"
    assert sorted(bank.names) == sorted(
        ["atlas:1", "atlas:7", f"{case}/liver", f"{case}/rib", f"{case}/vertebrae"]
    )
    shapes = dict(zip(bank.names, map(tuple, bank.sizes.tolist()), strict=True))
    assert shapes[f"{case}/liver"] == (4, 5, 6)
    assert shapes["atlas:7"] == (4, 4, 1)
    ribs = bank.mask(bank.names.index(f"{case}/rib"))
    assert ribs.shape == (12, 12, 12)
    assert ribs.sum() == 8 + 64
    vertebrae = bank.mask(bank.names.index(f"{case}/vertebrae"))
    assert vertebrae.shape == (3, 3, 9)
    assert not vertebrae[:, :, 3].any()


def test_the_folder_is_only_read(folder):
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")}
    TemplateBank.from_segmentations(folder)
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")} == before


def test_shapes_keep_their_size_unless_asked(folder):
    sizes = [TemplateBank.from_segmentations(folder, side=n).sizes for n in (64, 128)]
    np.testing.assert_array_equal(*sizes)


def test_a_smaller_side_scales_the_shapes(folder):
    bank = TemplateBank.from_segmentations(folder, side=64, resample=True)
    shapes = dict(zip(bank.names, map(tuple, bank.sizes.tolist()), strict=True))
    assert shapes["s0001/segmentations/rib"] == (6, 6, 6)
    assert len(bank) == 5  # thin shapes survive


def test_broken_files_are_named_and_skipped(folder):
    (folder / "torn.nii.gz").write_bytes(b"not a gzip")
    _save(folder / "half.nii", np.ones((4, 4, 4)))
    image = nib.Nifti1Image(np.full((4, 4, 4), 0.5, "float32"), np.eye(4))
    nib.save(image, folder / "half.nii")
    image = nib.Nifti1Image(np.full((4, 4, 4), -2, "int16"), np.eye(4))
    nib.save(image, folder / "minus.nii")
    with pytest.warns(UserWarning, match="3 files were skipped") as caught:
        bank = TemplateBank.from_segmentations(folder)
    assert len(bank) == 5
    text = str(caught[0].message)
    assert all(name in text for name in ("torn.nii.gz", "half.nii", "minus.nii"))


def test_folders_without_shapes(tmp_path):
    with pytest.raises(ValueError, match="found no shape"):
        TemplateBank.from_segmentations(tmp_path)
    with pytest.raises(ValueError, match="received no folder"):
        TemplateBank.from_segmentations(tmp_path / "absent")


def test_a_side_below_16(folder):
    with pytest.raises(ValueError, match="`side` must be in"):
        TemplateBank.from_segmentations(folder, side=8)


def test_a_scan_beside_its_segmentations_is_no_label_map(folder, rng):
    scan = rng.integers(0, 99, (12, 12, 12))
    for name in ("mri.nii.gz", "ct.nii.gz", "other/mri.nii.gz"):
        _save(folder / "s0001" / name, scan)
    assert len(TemplateBank.from_segmentations(folder)) == 5
    # the folder of one case
    names = TemplateBank.from_segmentations(folder / "s0001").names
    assert sorted(names) == [f"segmentations/{part}" for part in ("liver", "rib", "vertebrae")]


def test_endings_in_capitals_are_read_and_other_formats_named(tmp_path):
    _save(tmp_path / "a.nii.gz", _box((1, 1, 1), (5, 6, 7)))
    (tmp_path / "a.nii.gz").rename(tmp_path / "A.NII.GZ")
    (tmp_path / "b.nrrd").write_text("NRRD0004")
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.warns(UserWarning, match=r"1 files were skipped:\n.*b\.nrrd: .*NIfTI"):
        bank = TemplateBank.from_segmentations(tmp_path)
    assert bank.names == ["A:1"]


def test_a_cache_knows_the_contents_of_files_of_one_size(tmp_path):
    for ending in (".nii", ".nii.gz"):
        folder, cache = tmp_path / ending[1:], tmp_path / f"{ending[1:]}.bank"
        folder.mkdir()
        box = np.zeros((16, 16, 16), "uint8")
        box[2:6, 3:7, 4:9] = 1
        nib.save(nib.Nifti1Image(box, np.eye(4)), folder / f"a{ending}")
        TemplateBank.from_segmentations(folder, cache=cache)
        assert TemplateBank.from_segmentations(folder, cache=cache).sizes.tolist() == [[4, 4, 5]]
        box = np.swapaxes(box, 0, 2)
        size = (folder / f"a{ending}").stat().st_size
        nib.save(nib.Nifti1Image(box, np.eye(4)), folder / f"a{ending}")
        if ending == ".nii":
            assert (folder / f"a{ending}").stat().st_size == size
        with pytest.raises(UserError, match="other files or settings"):
            TemplateBank.from_segmentations(folder, cache=cache)


def test_spacing_counts_where_a_spacing_is_asked_for(tmp_path):
    for name, mm in (("fine", 1.0), ("coarse", 3.0)):
        image = nib.Nifti1Image(np.ones((6, 6, 6), "uint8"), np.diag([mm, mm, 2 * mm, 1]))
        nib.save(image, tmp_path / f"{name}.nii")
    stored = TemplateBank.from_segmentations(tmp_path).sizes.tolist()
    assert stored == [[6, 6, 6], [6, 6, 6]]
    at = TemplateBank.from_segmentations(tmp_path, voxel_mm=1.5).sizes.tolist()
    assert at == [[12, 12, 24], [4, 4, 8]]
    half = TemplateBank.from_segmentations(tmp_path, 64, resample=True, voxel_mm=1.5)
    assert half.sizes.tolist() == [[6, 6, 12], [2, 2, 4]]
    cache = tmp_path / "shapes.bank"
    TemplateBank.from_segmentations(tmp_path, voxel_mm=1.5, cache=cache)
    with pytest.raises(UserError, match="other files or settings"):
        TemplateBank.from_segmentations(tmp_path, voxel_mm=2.0, cache=cache)
    with pytest.raises(ValueError, match="`voxel_mm` must be > 0"):
        TemplateBank.from_segmentations(tmp_path, voxel_mm=0.0)
