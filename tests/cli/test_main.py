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
        (["nonsense"], "expected one of demo, synthesize"),
        (["regster"], "did you mean register?"),
        (["segment", "tarin"], "did you mean train?"),
        (["info", "--nonsense"], "nonsense"),
        (["register", "--out", "x"], "FIXED MOVING"),
        (["features", "a", "b", "c"], "c"),
        (["synthesize", "--count", "0", "--out", "x"], "--count"),
        (["synthesize", "--count", "2", "--shard", "2/2", "--out", "x"], "I/N"),
        (["synthesize", "--count", "2", "--shard", "one", "--out", "x"], "I/N"),
        (["synthesize", "--count", "2", "--templates", "nowhere", "--out", "x"], "nowhere"),
        (["apply", "--warp", "w", "--out", "x"], "--image or --points"),
        (["apply", "--warp", "w", "--image", "i", "--out", "x"], "a transform"),
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
    for word in (keras.backend.backend(), keras.__version__, "device", "memory", "bfloat16"):
        assert word in text


def run(*argv, **environment):
    command = [sys.executable, "-m", "anyvox_keras.cli", *argv]
    variables = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False)


#: every command that has no commands of its own
LEAVES = [name for name in COMMANDS if name not in ("segment", "voxelmorph")]
LEAVES += ["segment train", "segment predict", "segment evaluate"]
LEAVES += ["voxelmorph train", "voxelmorph register"]


def test_no_help_loads_a_framework():
    """Nor SciPy and NiBabel, which take half a second each."""
    code = (
        "import sys; from anyvox_keras.cli import main\n"
        f"for name in {LEAVES}:\n    assert main([*name.split(), '--help']) == 0\n"
        "heavy = {'keras', 'tensorflow', 'torch', 'jax', 'scipy', 'nibabel', 'matplotlib'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("Usage: anyvox ") == len(LEAVES)


@pytest.mark.parametrize("argv", [[], ["segment"], ["voxelmorph"]])
def test_without_arguments_help_is_shown_as_it_is(capsys, argv):
    assert main(argv) == 2
    text = capsys.readouterr().err
    assert text.startswith(" ".join(["Usage: anyvox", *argv]))
    assert "\nCommands:\n" in text


@pytest.mark.parametrize("name", ["numpy", "openvino", "pytorch"])
def test_a_backend_without_code_here_is_one_line(capsys, monkeypatch, name):
    monkeypatch.setenv("KERAS_BACKEND", name)
    assert main(["info"]) == 2
    assert f"expected one of tensorflow, torch, jax, received {name}" in one_line(capsys)
    assert main(["info", "--help"]) == 0


def test_mistake_in_a_process_is_one_line_and_two(tmp_path):
    ran = run("features", str(tmp_path / "none.nii.gz"), str(tmp_path / "out.nii.gz"))
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1
    assert "none.nii.gz" in ran.stderr
