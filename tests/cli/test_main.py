"""The command line as such: help, mistakes, codes."""

import os
import subprocess
import sys

import pytest

from anyvox_keras.cli import main
from anyvox_keras.cli.main import COMMANDS


def one_line(capsys):
    """The error's text, after a check that nothing else is on stderr."""
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("anyvox: error: ")
    return lines[0]


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(capsys, name):
    assert main([name, "--help"]) == 0
    assert f"anyvox {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["nonsense"], "nonsense"),
        (["info", "--nonsense"], "nonsense"),
        (["register", "--out", "x"], "--fixed"),
        (["register", "--fixed", "a", "--moving", "b"], "--out"),
        (["synthesize", "--count", "0", "--out", "x"], "--count"),
        (["synthesize", "--count", "2", "--shard", "2/2", "--out", "x"], "I/N"),
        (["synthesize", "--count", "2", "--shard", "one", "--out", "x"], "I/N"),
        (["synthesize", "--count", "2", "--templates", "nowhere", "--out", "x"], "nowhere"),
        (["apply", "--warp", "w", "--out", "x"], "--image or --points"),
        (["apply", "--warp", "w", "--image", "i", "--out", "x"], "--reference"),
    ],
)
def test_misuse_is_one_line_and_two(capsys, monkeypatch, tmp_path, argv, reason):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    assert reason in one_line(capsys)
    assert not list(tmp_path.iterdir())


def test_info_names_the_backend(capsys):
    import keras

    assert main(["info"]) == 0
    text = capsys.readouterr().out
    for word in (keras.backend.backend(), keras.__version__, "device", "memory"):
        assert word in text


def run(*argv, **environment):
    command = [sys.executable, "-m", "anyvox_keras.cli", *argv]
    variables = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False)


def test_help_in_a_process_loads_no_keras():
    code = (
        "import sys; from anyvox_keras.cli import main; main(['--help']); main(['info', '--help']);"
        "sys.exit('keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_mistake_in_a_process_is_one_line_and_two(tmp_path):
    ran = run("features", str(tmp_path / "none.nii.gz"), str(tmp_path / "out.nii.gz"))
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1
    assert "none.nii.gz" in ran.stderr


def test_unknown_backend_is_one_line_and_two():
    ran = run("info", KERAS_BACKEND="nonsense")
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1
