"""Old results or new ones, never a mixture; a full disk is one line."""

import errno
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from anyvox_keras.errors import UserError
from anyvox_keras.io import (
    atomic,
    atomic_hdf5,
    exclusive,
    refuse_inputs,
    replaced_together,
    require_room,
)

NAMES = ("a.txt", "b.txt", "done.txt")


def write(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)


def found(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_new_results_take_the_place_of_all_old_ones(tmp_path):
    write(tmp_path, a="old", b="old", done="old", mine="kept")
    with replaced_together(tmp_path, NAMES, "done.txt") as staged:
        write(staged, a="new", done="new")
        assert (tmp_path / "b.txt").read_text() == "old"
    assert found(tmp_path) == {"a.txt": "new", "done.txt": "new", "mine.txt": "kept"}


def test_a_failure_leaves_the_old_results(tmp_path):
    write(tmp_path, a="old", b="old", done="old")
    together = replaced_together(tmp_path, NAMES, "done.txt")
    write(together.__enter__(), a="new")
    with pytest.raises(KeyboardInterrupt):
        together.gen.throw(KeyboardInterrupt)
    assert found(tmp_path) == dict.fromkeys(NAMES, "old")


@pytest.mark.parametrize("moment", range(4))
def test_a_kill_between_the_renames_is_seen(tmp_path, monkeypatch, moment):
    write(tmp_path, a="old", b="old", done="old")
    rename, calls = os.replace, []

    def killed(source, target):
        calls.append(target)
        if len(calls) > moment:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", killed)
    try:
        with replaced_together(tmp_path, NAMES, "done.txt") as staged:
            write(staged, a="new", b="new", done="new")
    except KeyboardInterrupt:
        assert not (tmp_path / "done.txt").exists()
    else:
        assert set(found(tmp_path).values()) == {"new"}


def test_an_input_is_no_output(tmp_path):
    write(tmp_path, a="image")
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    for source in ("a.txt", "link.txt", "../" + tmp_path.name + "/a.txt"):
        with pytest.raises(UserError, match="replace an input"):
            refuse_inputs([tmp_path / "a.txt"], [None, 3, tmp_path / source])
    refuse_inputs([tmp_path / "b.txt"], [tmp_path / "a.txt", "fixed image"])


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a").write_text("old")
    with pytest.raises(OSError, match="cannot be written"), atomic(tmp_path / "a"):
        full()
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="cannot be written"):
        require_room(tmp_path / "a", 10)
    assert found(tmp_path) == {"a": "old"}


def test_hdf5_is_written_whole(tmp_path):
    with atomic_hdf5(tmp_path / "a.h5") as file:
        file["x"] = np.arange(3)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["x"][()], np.arange(3))
    with pytest.raises(ZeroDivisionError), atomic_hdf5(tmp_path / "b.h5"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_one_process_at_a_time(tmp_path):
    words = [sys.executable, "-c", _TRY, str(tmp_path)]
    with exclusive(tmp_path):
        refused = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "another process is writing there" in refused.stdout
    assert subprocess.run(words, capture_output=True, text=True, check=False).stdout == ""
    assert not list(tmp_path.iterdir())


_TRY = """
import sys
from anyvox_keras.errors import UserError
from anyvox_keras.io import exclusive
try:
    with exclusive(sys.argv[1]):
        pass
except UserError as error:
    print(error)
"""
