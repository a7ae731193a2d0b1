"""The bank on disk: whole or not at all, whatever happens to the build."""

import json
import os
import resource
import struct
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from anyvox_keras.errors import UserError
from anyvox_keras.templates import TemplateBank, bank_file
from anyvox_keras.templates.bank_file import BankBuilder, PackedMask, pack_mask

SETTINGS = {"files": "abc", "scale": 1.0}
MASKS = {f"organ{i}": np.random.default_rng(i).random((5 + i, 9, 7)) < 0.6 for i in range(6)}


def packed(name):
    return [PackedMask(name, *pack_mask(MASKS[name]))]


def assert_whole(path):
    bank = TemplateBank.open(path)
    assert bank.names == list(MASKS)
    for i, mask in enumerate(MASKS.values()):
        inside = np.argwhere(mask)
        box = tuple(map(slice, inside.min(0), inside.max(0) + 1))
        np.testing.assert_array_equal(bank.mask(i), mask[box])


def build(path, names=MASKS):
    with BankBuilder(path, SETTINGS) as builder:
        for name in names:
            if name not in builder.groups:
                builder.add(name, packed(name))
        builder.finish()


@pytest.fixture
def folder(tmp_path):
    labels = np.zeros((20, 20, 20), "uint8")
    labels[2:9, 3:12, 4:17] = 1
    labels[12:15, 3:12, 4:8] = 5
    for case in range(3):
        path = tmp_path / "maps" / f"case{case}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(np.roll(labels, case, 0), np.eye(4)), path)
    return tmp_path / "maps"


def test_a_saved_bank_opens_the_same(tmp_path):
    bank = TemplateBank.geometric(8, 24)
    bank.save(tmp_path / "a.bank")
    opened = TemplateBank.open(tmp_path / "a.bank")
    assert isinstance(opened.words, np.memmap)
    assert opened.names == bank.names
    for part in ("words", "offsets", "sizes"):
        np.testing.assert_array_equal(getattr(opened, part), getattr(bank, part))
    for name, part in bank.pack([[0, 7, 7], [1, 2, 3]]).items():
        np.testing.assert_array_equal(opened.pack([[0, 7, 7], [1, 2, 3]])[name], part)
    with pytest.raises(UserError, match="exists already"):
        bank.save(tmp_path / "a.bank")
    bank.save(tmp_path / "a.bank", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.bank"]


def test_shapes_take_one_bit_a_voxel_of_their_boxes(tmp_path):
    TemplateBank.from_masks([np.ones((64, 64, 64))] * 20).save(tmp_path / "a.bank")
    assert (tmp_path / "a.bank").stat().st_size < 20 * 64**3 // 8 + 2000


def test_a_draw_reads_only_its_shapes(tmp_path):
    """The words of other shapes may be anything: they are not looked at."""
    bank = TemplateBank.geometric(30, 32)
    bank.save(tmp_path / "a.bank")
    chosen = [3, 17]
    with open(tmp_path / "a.bank", "r+b") as file:
        for i in set(range(30)) - set(chosen):
            file.seek(64 + 4 * int(bank.offsets[i]))
            file.write(b"\xff" * (4 * int(bank._lengths[i])))
    opened = TemplateBank.open(tmp_path / "a.bank")
    np.testing.assert_array_equal(opened.pack(chosen)["words"], bank.pack(chosen)["words"])
    assert not np.array_equal(opened.mask(0), bank.mask(0))


def test_a_build_interrupted_anywhere_goes_on(tmp_path):
    build(tmp_path / "whole.bank")
    for stop in range(len(MASKS)):
        path = tmp_path / f"{stop}.bank"
        with pytest.raises(UserError, match="cannot be opened"):
            TemplateBank.open(path)
        with BankBuilder(path, SETTINGS) as builder:
            for name in list(MASKS)[:stop]:
                builder.add(name, packed(name))
        with pytest.raises(UserError, match="received no bank"):
            TemplateBank.open(builder.partial)
        with BankBuilder(path, SETTINGS) as builder:
            assert len(builder.groups) == stop
        build(path)
        assert_whole(path)
        assert path.read_bytes() == (tmp_path / "whole.bank").read_bytes()
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob("*.journal"))


KILLED = """
import os, sys
from pathlib import Path
from templates.test_bank_file import MASKS, SETTINGS, bank_file, packed
bank_file.CHECKPOINT_S = 0.0
builder = bank_file.BankBuilder(Path(sys.argv[1]), SETTINGS)
for name in list(MASKS)[:3]:
    builder.add(name, packed(name))
bank_file.CHECKPOINT_S = 100.0
builder.add("organ3", packed("organ3"))
os.kill(os.getpid(), 9)
"""


def test_a_killed_build_goes_on(tmp_path):
    tests = os.path.dirname(os.path.dirname(__file__))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, os.path.dirname(tests)])}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "a.bank")]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == -9, ran.stderr
    with BankBuilder(tmp_path / "a.bank", SETTINGS) as builder:
        assert builder.groups == {"organ0", "organ1", "organ2"}
    build(tmp_path / "a.bank")
    assert_whole(tmp_path / "a.bank")


def test_a_torn_line_of_the_journal_is_dropped(tmp_path):
    with BankBuilder(tmp_path / "a.bank", SETTINGS) as builder:
        for name in list(MASKS)[:4]:
            builder.add(name, packed(name))
    journal = builder.journal.read_bytes()
    builder.journal.write_bytes(journal[:-7])
    build(tmp_path / "a.bank")
    assert_whole(tmp_path / "a.bank")


@pytest.mark.parametrize("size", [80, 200, 300])
def test_a_full_disk_loses_nothing(tmp_path, full_disk, size, monkeypatch):
    monkeypatch.setattr(bank_file, "CHECKPOINT_S", 0.0)
    full_disk(size)
    with pytest.raises(UserError, match=r"cannot be written .* run it again to go on"):
        build(tmp_path / "a.bank")
    full_disk(resource.RLIM_INFINITY)
    assert not (tmp_path / "a.bank").exists()
    build(tmp_path / "a.bank")
    assert_whole(tmp_path / "a.bank")


def test_a_full_disk_while_the_index_is_written(tmp_path, full_disk):
    with BankBuilder(tmp_path / "a.bank", SETTINGS) as builder:
        for name in MASKS:
            builder.add(name, packed(name))
        builder.flush()
        full_disk(builder.partial.stat().st_size + 40)
        with pytest.raises(UserError, match="cannot be written"):
            builder.finish()
    full_disk(resource.RLIM_INFINITY)
    with pytest.raises(UserError, match="received no bank"):
        TemplateBank.open(builder.partial)
    build(tmp_path / "a.bank")
    assert_whole(tmp_path / "a.bank")


def test_two_builds_of_one_file_are_a_mistake(tmp_path):
    with (
        BankBuilder(tmp_path / "a.bank", SETTINGS) as builder,
        pytest.raises(UserError, match="another process"),
    ):
        BankBuilder(tmp_path / "a.bank", SETTINGS)
    with BankBuilder(tmp_path / "a.bank", SETTINGS) as builder:
        builder.add("organ0", packed("organ0"))
    with pytest.raises(UserError, match="begun with other settings"):
        BankBuilder(tmp_path / "a.bank", {**SETTINGS, "scale": 0.5})


def test_files_that_are_no_whole_bank(tmp_path):
    path = tmp_path / "a.bank"
    TemplateBank.geometric(3, 16).save(path)
    content = path.read_bytes()
    for name, wrong, message in [
        ("text", b"hello", "received no bank"),
        ("version", content[:8] + struct.pack("<I", 9) + content[12:], "received version 9"),
        ("cut", content[:-5], "damaged"),
        ("long", content + b"x", "damaged"),
        ("middle cut out", content[:100] + content[120:], "damaged"),
    ]:
        path.write_bytes(wrong)
        with pytest.raises(UserError, match=message) as caught:
            TemplateBank.open(path)
        assert str(path) in str(caught.value), name


def test_a_folder_becomes_a_file_once(folder, tmp_path):
    cache = tmp_path / "maps.bank"
    bank = TemplateBank.from_segmentations(folder, cache=cache)
    in_memory = TemplateBank.from_segmentations(folder)
    assert bank.names == in_memory.names == [f"case{i}:{v}" for i in range(3) for v in (1, 5)]
    np.testing.assert_array_equal(bank.words, in_memory.words)
    stamp = cache.stat().st_mtime_ns
    again = TemplateBank.from_segmentations(folder, cache=cache)
    assert cache.stat().st_mtime_ns == stamp
    assert again.names == bank.names
    with pytest.raises(UserError, match="made from other files or settings"):
        TemplateBank.from_segmentations(folder, side=64, resample=True, cache=cache)
    (folder / "case1.nii.gz").unlink()
    with pytest.raises(UserError, match="made from other files or settings"):
        TemplateBank.from_segmentations(folder, cache=cache)


def test_a_build_that_stopped_reads_only_the_rest(folder, tmp_path, monkeypatch):
    from anyvox_keras.templates import segmentations as reader

    (folder / "case0.nii.gz").write_bytes(b"not a gzip")
    read, load = [], reader.load_labels

    def once_interrupted(path):
        read.append(path.name)
        if len(read) == 3:
            raise KeyboardInterrupt
        return load(path)

    monkeypatch.setattr(reader, "load_labels", once_interrupted)
    monkeypatch.setattr(reader.os, "cpu_count", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        TemplateBank.from_segmentations(folder, cache=tmp_path / "maps.bank")
    with pytest.warns(UserWarning, match=r"1 files were skipped:\n  .*case0"):
        bank = TemplateBank.from_segmentations(folder, cache=tmp_path / "maps.bank")
    assert read == ["case0.nii.gz", "case1.nii.gz", "case2.nii.gz", "case2.nii.gz"]
    assert len(bank) == 4


def test_a_folder_without_shapes_leaves_no_file(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="found no shape"):
        TemplateBank.from_segmentations(tmp_path / "empty", cache=tmp_path / "a.bank")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_the_journal_names_no_machine_path(folder, tmp_path):
    TemplateBank.from_segmentations(folder, cache=tmp_path / "maps.bank")
    assert str(tmp_path).encode() not in (tmp_path / "maps.bank").read_bytes()
    assert json.dumps("case0:1").encode() in (tmp_path / "maps.bank").read_bytes()
