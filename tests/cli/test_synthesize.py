"""`anyvox synthesize`: names, shards, resume. What the pairs look like is synthesis's business."""

import functools

import h5py
import numpy as np
import pytest

from anyvox_keras import synthesis
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
    numbers = []

    class Recorded(Drawn):
        def layer(self, asked):
            numbers.extend(asked)
            if len(numbers) == 4 and numbers[0] != 0:
                raise KeyboardInterrupt
            return super().layer(asked)

    monkeypatch.setattr(synthesis, "SyntheticStream", Recorded)
    monkeypatch.setattr(TemplateBank, "geometric", lambda count, side, seed: None)
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


@pytest.fixture
def compiled_once(monkeypatch):
    """One bank and one stream serve all runs of a seed, so that compilation is paid once."""
    made, real = {}, synthesis.SyntheticStream

    def stream(bank, side, seed):
        return made.setdefault(seed, real(bank, side=side, seed=seed))

    monkeypatch.setattr(TemplateBank, "geometric", functools.cache(TemplateBank.geometric))
    monkeypatch.setattr(synthesis, "SyntheticStream", stream)
    return made


def test_shards_equal_one_run_bit_for_bit(tmp_path, compiled_once):
    seed = ("--seed", "3")
    assert run(tmp_path / "whole.hdf5", *seed) == 0
    pairs = {}
    for index in range(3):
        part = tmp_path / f"{index}.hdf5"
        assert run(part, *seed, "--shard", f"{index}/3") == 0
        with h5py.File(part) as file:
            pairs |= {name: (file[name]["img"][()], file[name]["seg"][()]) for name in file}
    with h5py.File(tmp_path / "whole.hdf5") as file:
        assert list(file) == sorted(pairs)
        for name, (views, labels) in pairs.items():
            np.testing.assert_array_equal(file[name]["img"], views)
            np.testing.assert_array_equal(file[name]["seg"], labels)

    assert run(tmp_path / "whole", *seed) == 0
    for index in (1, 0):
        assert run(tmp_path / "shards", *seed, "--shard", f"{index}/2") == 0
    files = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "shards").iterdir())
    assert len(files) == 3 * 5 + 1
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "shards" / name).read_bytes()

    drawn = list(compiled_once[3].arrays(5))
    for number, pair in enumerate(drawn):  # and what is written is what the stream draws
        views, labels = pairs[f"{number:06d}"]
        np.testing.assert_array_equal(labels, pair["label_map"][0])
        both = np.stack([pair["view1"], pair["view2"]])[:, 0, ..., 0]
        np.testing.assert_array_equal(views, np.floor(both * np.float32(255)))
