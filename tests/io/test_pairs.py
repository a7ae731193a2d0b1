"""The stores of synthetic pairs: layout, resume, crash safety."""

import resource
import shutil
from types import SimpleNamespace

import h5py
import nibabel as nib
import numpy as np
import pytest

from anyvox_keras.errors import UserError
from anyvox_keras.synthesis import PairFile, PairFolder

SETTINGS = {"seed": 3, "side": 4}


def pair(number):
    rng = np.random.default_rng(number)
    return rng.uniform(size=(2, 4, 5, 6)).astype("float32"), rng.integers(0, 9, (4, 5, 6))


def fill(store):
    with store:
        for number in store.missing:
            store.write(number, *pair(number))
        store.finish()


def interrupted(path):
    with PairFile(path, range(7), SETTINGS, part=2) as store:
        for number in range(5):
            store.write(number, *pair(number))
        raise KeyboardInterrupt


def test_layout_of_the_interchange_file(tmp_path):
    fill(PairFile(tmp_path / "a.hdf5", range(98, 103), SETTINGS, part=2))
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert list(file) == ["000098", "000099", "000100", "000101", "000102"]
        views, labels = pair(100)
        group = file["000100"]
        assert group["img"].dtype == group["seg"].dtype == np.uint8
        np.testing.assert_array_equal(group["img"], np.floor(views * np.float32(255)))
        np.testing.assert_array_equal(group["seg"], labels)
    assert [path.name for path in tmp_path.iterdir()] == ["a.hdf5"]


def test_interrupted_file_goes_on_where_it_stood(tmp_path):
    path = tmp_path / "a.hdf5"
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert not path.exists()
    store = PairFile(path, range(7), SETTINGS, part=2)
    assert store.missing == [5, 6]
    fill(store)
    fill(PairFile(tmp_path / "b.hdf5", range(7), SETTINGS))
    with h5py.File(path) as a, h5py.File(tmp_path / "b.hdf5") as b:
        assert list(a) == list(b)
        for name in a:
            np.testing.assert_array_equal(a[name]["img"], b[name]["img"])


def test_killed_process_loses_one_part_at_most(tmp_path):
    store = PairFile(tmp_path / "a.hdf5", range(7), SETTINGS, part=3)
    for number in range(5):
        store.write(number, *pair(number))
    (store.parts / ".0a1b2c3d-000003.hdf5").write_bytes(b"cut short")
    assert PairFile(tmp_path / "a.hdf5", range(7), SETTINGS).missing == [3, 4, 5, 6]


@pytest.mark.parametrize("name", ["a.hdf5", "folder"])
def test_same_settings_of_a_finished_store_change_nothing(tmp_path, name):
    kind = PairFile if name.endswith("hdf5") else PairFolder
    fill(kind(tmp_path / name, range(2), SETTINGS))
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()}
    store = kind(tmp_path / name, range(2), SETTINGS)
    assert store.missing == []
    fill(store)
    data = [path for path in stamps if path.name != "settings.json"]
    assert all(path.stat().st_mtime_ns == stamps[path] for path in data)


def test_a_full_disk_loses_no_part(tmp_path, full_disk):
    path = tmp_path / "a.hdf5"
    store = PairFile(path, range(7), SETTINGS, part=2)
    for number in range(5):
        store.write(number, *pair(number))
    full_disk(500)
    with pytest.raises(UserError, match=r"cannot be written .*run it again to go on"):
        fill(store)
    full_disk(resource.RLIM_INFINITY)
    assert not path.exists()
    again = PairFile(path, range(7), SETTINGS, part=2)
    assert again.missing == [4, 5, 6]
    fill(again)
    with h5py.File(path) as file:
        for number in range(7):
            expected = np.floor(pair(number)[0] * np.float32(255))
            np.testing.assert_array_equal(file[f"{number:06d}/img"], expected)


def test_a_full_disk_loses_no_file_of_a_folder(tmp_path, full_disk):
    path = tmp_path / "pairs"
    with PairFolder(path, range(3), SETTINGS) as store:
        store.write(0, *pair(0))
        full_disk(200)
        with pytest.raises(UserError, match=r"cannot be written .*run it again to go on"):
            store.write(1, *pair(1))
    full_disk(resource.RLIM_INFINITY)
    assert not [file for file in path.iterdir() if file.name.startswith(".")]
    again = PairFolder(path, range(3), SETTINGS)
    assert again.missing == [1, 2]
    fill(again)
    fill(PairFolder(tmp_path / "whole", range(3), SETTINGS))
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (path / file.name).read_bytes()


def test_parts_are_merged_only_where_they_fit(tmp_path, monkeypatch):
    path = tmp_path / "a.hdf5"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(UserError, match="GB needed"):
            fill(PairFile(path, range(3), SETTINGS))
    assert PairFile(path, range(3), SETTINGS).missing == []
    assert not path.exists()
    fill(PairFile(path, range(3), SETTINGS))
    assert path.exists()


@pytest.mark.parametrize("name", ["a.hdf5", "folder"])
def test_other_settings_are_a_mistake_unless_overwritten(tmp_path, name):
    kind = PairFile if name.endswith("hdf5") else PairFolder
    fill(kind(tmp_path / name, range(2), SETTINGS))
    with pytest.raises(UserError, match="other settings"):
        kind(tmp_path / name, range(2), {"seed": 4})
    store = kind(tmp_path / name, range(2), {"seed": 4}, overwrite=True)
    assert store.missing == [0, 1]
    fill(store)
    assert kind(tmp_path / name, range(2), {"seed": 4}).missing == []


def test_begun_file_of_other_settings_is_a_mistake(tmp_path):
    with PairFile(tmp_path / "a.hdf5", range(4), SETTINGS) as store:
        store.write(0, *pair(0))
    with pytest.raises(UserError, match="begun with other settings"):
        PairFile(tmp_path / "a.hdf5", range(4), {"seed": 4})


def test_files_of_others_are_never_touched(tmp_path):
    (tmp_path / "a.hdf5").write_text("precious")
    with pytest.raises(UserError, match="exists already"):
        PairFile(tmp_path / "a.hdf5", range(2), SETTINGS)
    with pytest.raises(UserError, match="exists already"):
        PairFolder(tmp_path, range(2), SETTINGS)
    fill(PairFolder(tmp_path, range(2), SETTINGS, overwrite=True))
    assert (tmp_path / "a.hdf5").read_text() == "precious"


def test_shards_fill_one_folder(tmp_path):
    for numbers in (range(0, 2), range(2, 4)):
        fill(PairFolder(tmp_path / "pairs", numbers, SETTINGS))
    names = sorted(path.name for path in (tmp_path / "pairs").glob("*.nii.gz"))
    assert len(names) == 12
    views, labels = pair(2)
    image = nib.load(tmp_path / "pairs" / "000002_view2.nii.gz")
    np.testing.assert_array_equal(image.get_fdata(), np.floor(views[1] * np.float32(255)))
    seg = nib.load(tmp_path / "pairs" / "000002_seg.nii.gz")
    np.testing.assert_array_equal(seg.get_fdata(), labels)


def test_wrong_arrays_are_refused(tmp_path):
    store = PairFile(tmp_path / "a.hdf5", range(2), SETTINGS)
    views, labels = pair(0)
    with pytest.raises(ValueError, match=r"\(2, D, H, W\)"):
        store.write(0, views[:1], labels)
    with pytest.raises(ValueError, match="255"):
        store.write(0, views, labels + 300)
    with pytest.raises(ValueError, match="missing"):
        store.finish()


def test_two_writers_of_one_file_are_a_mistake(tmp_path):
    path = tmp_path / "a.hdf5"
    with PairFile(path, range(2), SETTINGS) as first:
        first.write(0, *pair(0))
        with pytest.raises(UserError, match="another process"):
            fill(PairFile(path, range(2), SETTINGS))
        first.flush()
    fill(PairFile(path, range(2), SETTINGS))
    assert [one.name for one in tmp_path.iterdir()] == ["a.hdf5"]


def test_a_second_writer_finds_what_the_first_has_finished(tmp_path):
    second = PairFile(tmp_path / "a.hdf5", range(2), SETTINGS)
    assert second.missing == [0, 1]
    fill(PairFile(tmp_path / "a.hdf5", range(2), SETTINGS))
    with second:
        assert second.missing == []
        second.finish()


def test_a_begun_file_that_is_dropped_has_nothing(tmp_path):
    with PairFile(tmp_path / "a.hdf5", range(2), SETTINGS) as store:
        store.write(0, *pair(0))
    store = PairFile(tmp_path / "a.hdf5", range(2), {"seed": 4}, overwrite=True)
    assert store.missing == [0, 1]
    fill(store)
    assert PairFile(tmp_path / "a.hdf5", range(2), {"seed": 4}).missing == []
