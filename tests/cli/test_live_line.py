"""The line that tells what a command does."""

import io
import json
import logging
import sys
import warnings

import pytest
from rich.console import Console

from anyvox_keras.cli import _live_line
from anyvox_keras.cli._live_line import Clock, LiveLine, complain, shown
from anyvox_keras.cli._quiet import quiet
from anyvox_keras.cli.main import main
from anyvox_keras.progress import LOGGER, counted, note, plan, tell


@pytest.fixture
def now(monkeypatch):
    """A clock that the test turns."""
    time = [0.0]
    monkeypatch.setattr(_live_line.time, "monotonic", lambda: time[0])
    return time


def test_what_is_left_follows_from_the_shares(now):
    clock = Clock({"features": 1.0, "search": 4.0, "report": 5.0})
    clock.begin("features", 0.0)
    assert clock.left() is None
    now[0] = 10.0
    clock.begin("search", 0.25)  # two tenths of the work in ten seconds
    assert clock.left() == pytest.approx(40.0)
    now[0] = 15.0
    assert clock.left() == pytest.approx(35.0)
    clock.begin("not planned", 0.0)
    assert clock.share == pytest.approx(0.2)


def test_without_a_plan_each_stage_counts_by_itself(now):
    clock = Clock()
    clock.begin("images", 0.0)
    now[0] = 30.0
    clock.begin("images", 0.75)
    assert clock.left() == pytest.approx(10.0)
    clock.begin("others", 0.0)
    assert clock.left() is None


def test_records_are_drawn_and_the_terminal_is_left_clean():
    stream = io.StringIO()
    line = LiveLine(Console(file=stream, force_terminal=True, width=100))
    LOGGER.addHandler(line)
    LOGGER.setLevel(logging.INFO)
    try:
        note("scan.nii.gz: 4 x 4 x 4 voxels")
        plan(search=1, report=1)
        tell("search", "level [1] of 2")
        assert list(counted("ab", "letters", 2)) == ["a", "b"]
    finally:
        LOGGER.removeHandler(line)
        LOGGER.setLevel(logging.NOTSET)
        line.close()
    drawn = stream.getvalue()
    assert "scan.nii.gz: 4 x 4 x 4 voxels" in drawn
    assert "search, level [1] of 2" in drawn
    assert "letters, 2 of 2" in drawn
    assert drawn.endswith("\x1b[2K")  # the last thing done is to erase the line


def test_nothing_is_drawn_where_nobody_watches(capsys):
    with shown([]):  # pytest's stderr is no terminal
        note("a word")
        tell("a stage")
    assert capsys.readouterr().err == ""
    assert not LOGGER.handlers


def test_programs_read_a_json_object_per_line(capsys):
    with quiet(), shown(["--json"]):
        note("scan.nii.gz: 4 x 4 x 4 voxels")
        plan(search=4)
        tell("search", "level 1 of 2", done=0.5)
        warnings.warn_explicit("two\nlines", UserWarning, "a", 1, module="anyvox_keras.io")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert all(line.pop("time") > 1.7e9 for line in lines)
    assert lines == [
        {"note": "scan.nii.gz: 4 x 4 x 4 voxels"},
        {"plan": {"search": 4}},
        {"stage": "search", "detail": "level 1 of 2", "done": 0.5},
        {"warning": "two lines"},
    ]
    assert not LOGGER.handlers


def test_programs_are_told_the_end(capsys, tmp_path):
    missing = str(tmp_path / "no.nii")
    assert main(["register", missing, missing, "--json"]) == 2
    told = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert told["exit"] == 2
    assert "no.nii" in told["error"]


def test_programs_are_told_the_end_of_a_command_that_left_by_itself(capsys, monkeypatch):
    def leave(**_):
        complain("error", "a process\nwas lost")
        sys.exit(1)

    monkeypatch.setattr(sys.modules["anyvox_keras.cli.main"].anyvox, "main", leave)
    assert main(["info", "--json"]) == 1
    said, end = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert said["error"] == "a process was lost"
    assert end["exit"] == 1
    assert main(["info"]) == 1
    assert capsys.readouterr().err == "anyvox: error: a process was lost\n"
