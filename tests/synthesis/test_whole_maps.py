"""Cubes of whole label maps in the stream."""

import nibabel as nib
import numpy as np
import pytest

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.synthesis import WholeMaps

SIDE = 16


@pytest.fixture
def labels(rng):
    """60 labels in blocks, none at the rim."""
    blocks = rng.integers(200, 260, (8, 6, 7)).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    return np.pad(blocks, 2).astype("int16")


def test_cubes_are_those_of_the_map_turned_and_renumbered(labels):
    maps = WholeMaps([labels], share=1.0)
    found = maps.batch(SIDE, 41, 0, range(6), "train")
    assert found["taken"].tolist() == [1] * 6
    padded = np.pad(labels, SIDE)
    windows = np.lib.stride_tricks.sliding_window_view(padded != 0, (SIDE,) * 3)
    for cube in found["whole"]:
        numbers, counts = np.unique(cube[cube > 0], return_counts=True)
        assert numbers.tolist() == list(range(1, len(numbers) + 1))
        assert len(numbers) <= 40
        turned = [
            np.flip(cube != 0, axes)
            for axes in [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
        ]
        assert any((windows == one).all((3, 4, 5)).any() for one in turned)
        assert counts[0] == counts.max()


def test_a_share_of_the_pairs_is_whole_and_a_pair_is_the_same_in_every_batch(labels):
    maps = WholeMaps([labels, labels[:9]], share=0.5)
    many = maps.batch(SIDE, 41, 3, range(200), "train")
    assert 70 < many["taken"].sum() < 130
    few = maps.batch(SIDE, 41, 3, range(20, 23), "train")
    for name, array in few.items():
        np.testing.assert_array_equal(array, many[name][20:23])
    assert not many["whole"][many["taken"] == 0].any()


@pytest.mark.slow
def test_the_stream_paints_them(labels):
    bank = avx.TemplateBank.geometric(count=40, side=SIDE)
    plain = avx.SyntheticStream(bank, SIDE, 4, seed=1)
    mixed = avx.SyntheticStream(bank, SIDE, 4, seed=1, maps=WholeMaps([labels]))
    batch = mixed[0][0]
    found = {name: to_numpy(x) for name, x in mixed.layer(batch).items()}
    expected = {name: to_numpy(x) for name, x in plain.layer(plain[0][0]).items()}
    taken = batch["taken"] == 1
    assert 0 < taken.sum() < 4
    np.testing.assert_array_equal(found["label_map"][taken], batch["whole"][taken])
    for name in expected:
        np.testing.assert_array_equal(found[name][~taken], expected[name][~taken])
    assert np.abs(found["view1"] - expected["view1"])[taken].max() > 0.1
    assert mixed.held_out(2)[0][0]["whole"].shape == (4, SIDE, SIDE, SIDE)


def test_folders_are_read_in_every_spacing(labels, tmp_path):
    nib.save(nib.Nifti1Image(labels, np.diag([2.0, 2, 2, 1])), tmp_path / "a.nii.gz")
    maps = WholeMaps.from_folders([tmp_path], spacings=(2.0, 4.0))
    assert [found.shape for found in maps.maps] == [labels.shape, (14, 11, 13)]
    np.testing.assert_array_equal(maps.maps[0], labels)
    nib.save(nib.Nifti1Image(0 * labels, np.eye(4)), tmp_path / "b.nii.gz")
    with pytest.raises(UserError, match=r"b\.nii\.gz: expected a label map"):
        WholeMaps.from_folders([tmp_path])
    with pytest.raises(ValueError, match="`share` must be in"):
        WholeMaps([labels], share=2)
    with pytest.raises(ValueError, match="`maps` must hold labels"):
        WholeMaps([0 * labels])


def test_cubes_cut_at_the_rim_are_filled_with_background():
    maps = WholeMaps([np.ones((3, 3, 3), "uint8")], share=1.0)
    cube = maps.batch(SIDE, 5, 0, range(1), "train")["whole"][0]
    assert cube.sum() == 27
