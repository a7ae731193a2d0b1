"""The examples for clusters and containers say what the package and its Makefile say."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import keras
import pytest

from anyvox_keras.cli._options import Shard
from anyvox_keras.cli.main import COMMANDS, anyvox

HOME = Path(__file__).parents[1]
SCRIPT = HOME / "examples" / "cluster" / "register_array.sh"
SNAKEFILE = HOME / "examples" / "cluster" / "Snakefile"
DOCKERFILES = sorted((HOME / "docker").glob("*.Dockerfile"))

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "torch", reason="no backend takes part"),
    pytest.mark.skipif(not DOCKERFILES, reason="of a checkout only"),
]


def test_the_array_script_runs_its_shard(tmp_path):
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", SCRIPT], check=True)
    fake = tmp_path / "anyvox"
    fake.write_text('#!/bin/bash\nprintf "%s\\n" "$@"; echo "$OMP_NUM_THREADS"; exit 3\n')
    fake.chmod(0o755)
    slurm = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "5", "SLURM_CPUS_PER_TASK": "4"}
    command = ["bash", SCRIPT, "my pairs.csv", "out", "--affine"]
    path = f"{tmp_path}:/usr/bin:/bin"
    ran = subprocess.run(
        command, env={**slurm, "PATH": path}, capture_output=True, text=True, check=True
    )
    words = ran.stdout.splitlines()
    assert words.pop() == "4"
    expected = ["register", "--batch", "my pairs.csv", "--out", "out", "--shard", "2/5", "--affine"]
    assert words == expected
    assert understood(words)


def understood(words: list[str]) -> bool:
    """Whether the command line has these flags."""
    command = anyvox
    while words and not words[0].startswith("-"):
        command = command.get_command(None, words[0])
        words = words[1:]
    known = {flag for option in command.params for flag in option.opts}
    assert {word for word in words if word.startswith("--")} <= known
    return True


def test_the_rules_of_snakemake_are_command_lines():
    text = SNAKEFILE.read_text()
    rules = re.findall(r"rule (\w+):.*?(?=\nrule|\Z)", text, re.S)
    assert rules == ["all", "register", "segment"]
    shells = re.findall(r"    shell:\n((?:        .*\n)+)", text)
    assert len(shells) == 2
    for shell in shells:
        line = "".join(re.findall(r'f?"(.*)"', shell))
        line = re.sub(r"\{\{wildcards.part\}\}/\{PARTS\}", "1/4", line).split(" || ")[0]
        words = shlex.split(line)[1:]
        assert words[0] == "anyvox"
        assert understood(words[1:])
        assert Shard().convert(words[words.index("--shard") + 1], None, None) == (1, 4)


@pytest.mark.skipif(shutil.which("snakemake") is None, reason="snakemake is not installed")
def test_snakemake_plans_every_part(tmp_path):
    (tmp_path / "pairs.csv").touch()
    (tmp_path / "images").mkdir()
    config = ["pairs=pairs.csv", "images=images", "run=run", "out=out", "parts=3"]
    command = ["snakemake", "--dry-run", "--cores", "1", "--snakefile", SNAKEFILE, "--config"]
    ran = subprocess.run([*command, *config], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert (ran.stdout + ran.stderr).count("--shard") == 6


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_containers_install_what_the_project_names(path):
    text = path.read_text()
    with open(HOME / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    makefile = (HOME / "Makefile").read_text()
    version = re.search(r"^TORCH := (torch==[\d.]+)", makefile, re.M)[1]
    index = re.search(r"^TORCH_INDEX := (\S+)", makefile, re.M)[1]
    first, second = re.findall(r"^RUN pip install --no-cache-dir (.+)$", text, re.M)
    cpu = path.name.startswith("cpu")
    assert first == (f"{version}+cpu --extra-index-url {index}" if cpu else version)
    extras = set(re.search(r'"\.\[(.+)\]"', second)[1].split(","))
    assert extras <= set(project["optional-dependencies"])
    assert {"torch", "cluster"} <= extras
    python = re.search(r"^FROM python:([\d.]+)-slim$", text, re.M)[1]
    assert f"PYTHON ?= python{python}" in makefile
    # everything that the build reads is copied
    for name in (project["readme"], *project["license-files"]):
        assert name in text or name.startswith("anyvox_keras/")
    for line in re.findall(r"^#   docker run .*? anyvox(?:\S*) (.+)$", text, re.M):
        words = line.split()
        assert words[0] in COMMANDS
        assert understood(words)
