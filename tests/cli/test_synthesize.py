"""`anyvox synthesize`: names, shards, resume. What the pairs look like is synthesis's business."""

import h5py
import keras
import numpy as np
import pytest

from anyvox_keras.cli import main
from anyvox_keras.templates import TemplateBank


class Drawn:
    """In place of the stream: a pair whose values tell its number and seed."""

    def __init__(self, bank, side, seed):
        self.side, self.seed, self.asked = side, seed, []

    def batch(self, numbers):
        return numbers

    def layer(self, numbers):
        shape = (1, self.side, self.side, self.side)
        views = np.full((*shape, 1), (numbers[0] + 0.5) / 255, "float32")
        return {"label_map": np.full(shape, self.seed), "view1": views, "view2": 2 * views}


@pytest.fixture
def drawn(monkeypatch):
    """Replace the slow part; the numbers that were drawn are recorded."""
    import anyvox_keras.synthesis as synthesis

    numbers = []

    class Recorded(Drawn):
        def layer(self, asked):
            numbers.extend(asked)
            if len(numbers) == 4 and numbers[0] != 0:
                raise KeyboardInterrupt
            return super().layer(asked)

    monkeypatch.setattr(synthesis, "SyntheticStream", Recorded)
    monkeypatch.setattr(TemplateBank, "geometric", lambda count, side: None)
    return numbers


def run(out, *more, count=5):
    return main(["synthesize", "--count", str(count), "--side", "16", "--out", str(out), *more])


def content(path):
    with h5py.File(path) as file:
        return {name: file[name]["img"][0, 0, 0, 0] for name in file}


def test_shards_together_are_the_whole(tmp_path, drawn):
    assert run(tmp_path / "whole.hdf5") == 0
    parts = {}
    for index in range(3):
        assert run(tmp_path / f"{index}.hdf5", "--shard", f"{index}/3") == 0
        part = content(tmp_path / f"{index}.hdf5")
        assert not parts.keys() & part.keys()
        parts |= part
    assert parts == content(tmp_path / "whole.hdf5")
    assert parts == {f"{number:06d}": number for number in range(5)}


def test_validation_file_continues_the_numbering(tmp_path, drawn):
    assert run(tmp_path / "val.hdf5", "--first", "7", count=2) == 0
    assert list(content(tmp_path / "val.hdf5")) == ["000007", "000008"]


def test_interrupted_run_goes_on_and_a_finished_one_stays(tmp_path, drawn, capsys):
    out = tmp_path / "a.hdf5"
    assert run(out, "--first", "1") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "anyvox: error: interrupted"
    assert drawn == [1, 2, 3, 4]
    assert run(out, "--first", "1") == 0
    assert drawn == [1, 2, 3, 4, 4, 5]
    stamp = out.stat().st_mtime_ns
    assert run(out, "--first", "1") == 0
    assert out.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("name", ["a.hdf5", "folder"])
def test_other_arguments_are_a_mistake(tmp_path, drawn, capsys, name):
    assert run(tmp_path / name) == 0
    capsys.readouterr()
    assert run(tmp_path / name, "--seed", "1") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert run(tmp_path / name, "--seed", "1", "--overwrite") == 0


def test_shards_share_a_folder(tmp_path, drawn):
    for index in range(2):
        assert run(tmp_path / "folder", "--shard", f"{index}/2") == 0
    assert len(list((tmp_path / "folder").glob("*_seg.nii.gz"))) == 5


def test_folder_without_shapes_leaves_nothing(tmp_path, drawn, capsys):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "a.hdf5", "--templates", str(tmp_path / "empty")) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="others compile for a minute")
def test_real_pairs_are_the_streams(tmp_path):
    import anyvox_keras.synthesis as synthesis
    from anyvox_keras.cli._options import open_templates
    from anyvox_keras.ops._backend import to_numpy

    assert run(tmp_path / "a.hdf5", "--seed", "3", "--shard", "1/2", count=2) == 0
    stream = synthesis.SyntheticStream(open_templates("geometric", 16), side=16, seed=3)
    pair = stream.layer(stream.batch(range(1, 2)))
    with h5py.File(tmp_path / "a.hdf5") as file:
        np.testing.assert_array_equal(file["000001/seg"], to_numpy(pair["label_map"])[0])
        view = np.floor(to_numpy(pair["view2"])[0, ..., 0] * np.float32(255))
        np.testing.assert_array_equal(file["000001/img"][1], view)
