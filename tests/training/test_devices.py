"""Runs on several devices learn what one device does, and a lost process ends them soundly."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from segmentation.made_data import made_folder

from anyvox_keras.contrastive import PretrainingRun, RunSettings
from anyvox_keras.errors import UserError
from anyvox_keras.segmentation import SegmentationRun
from anyvox_keras.training.checkpoint import read_facts

BACKEND = keras.backend.backend()
TORCH = BACKEND == "torch"
TESTS = Path(__file__).parents[1]


@pytest.fixture
def _path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *sys.path]))


@pytest.mark.slow
@pytest.mark.usefixtures("_path")
def test_two_devices_learn_what_one_does_and_their_runs_cross(tmp_path):
    """Segmentation and VoxelMorph: samples, losses, weights, and the checkpoint."""
    program = str(TESTS / "parallel_runs.py")
    if TORCH:
        from anyvox_keras.backend import run_processes

        assert run_processes([program, str(tmp_path)], 2) == 0
        return
    ran = subprocess.run([sys.executable, program, tmp_path], capture_output=True, text=True)
    assert ran.stdout.count("alike") == 2, ran.stderr[-2000:]


def test_devices_that_cannot_share_a_step_are_refused(tmp_path):
    with pytest.raises(UserError, match="batch_size: expected a multiple of the 2 devices"):
        PretrainingRun(tmp_path, RunSettings(batch_size=3, steps=1), devices=2)


class StoppedError(Exception):
    """Ends a run that goes on, once it has shown that it does."""


def stop(row):
    raise StoppedError


def process_of(rank, parent):
    """Number of the process that trains as `rank`, a child of `parent`."""
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in children.read_text().split():
            told = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            if f"RANK={rank}".encode() in told:
                return int(child)
    raise AssertionError(f"{parent} has no process of rank {rank}")


def told_to_each():
    """What the environment says to each of two processes of this backend, on this machine."""
    with contextlib.ExitStack() as held:
        taken = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        places = [f"127.0.0.1:{one.getsockname()[1]}" for one in taken]
    for index in (0, 1):
        if BACKEND == "jax":
            yield {
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": places[0],
                "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
                "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
            }
        else:
            task = {"type": "worker", "index": index}
            yield {"TF_CONFIG": json.dumps({"cluster": {"worker": places}, "task": task})}


def started(command, **told):
    kept = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen(command, env={**os.environ, **told}, **kept)


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.usefixtures("_path")
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes as Linux does")
def test_a_killed_process_ends_the_others_in_one_line_and_the_run_goes_on(tmp_path):
    made_folder(tmp_path / "data")
    run = tmp_path / "run"
    flags = dict(data=tmp_path / "data", out=run, weights="scratch", width=2, levels=1, side=12)
    flags |= {"batch-size": 2, "steps": 400, "augmentation": "none", "validate-every": 400}
    flags |= {"log-every": 1}
    words = [f"--{name}={value}" for name, value in flags.items()]
    command = [sys.executable, "-m", "anyvox_keras.cli", "segment", "train", *words]
    if TORCH:
        with started([*command, "--devices", "2"]) as process:
            wait_for(run / "state", process)
            os.kill(process_of(1, process.pid), signal.SIGKILL)
            said = process.communicate(timeout=60)[1]
        assert len(said.splitlines()) == 1, said
        assert "process 1 (SIGKILL) of the training was lost" in said
    else:
        process, other = (started(command, **told) for told in told_to_each())
        with process, other:
            wait_for(run / "state", process)
            other.kill()
            said = process.communicate(timeout=60)[1]
        # The frameworks' own words about their sockets cannot be kept back.
        own = [line for line in said.splitlines() if line.startswith("anyvox: ")]
        assert len(own) == 1, said
        assert "Traceback" not in said
        assert "process of the training was lost" in own[0]
    assert process.returncode == 1
    assert "--resume" in said
    left = SegmentationRun(run, SegmentationRun.read_settings(run))
    assert 10 <= (step := left.step) < 400
    with pytest.raises(StoppedError):
        left.train(stop)
    assert np.genfromtxt(run / "log.csv", delimiter=",", names=True)["step"].max() > step


@pytest.mark.slow
@pytest.mark.usefixtures("_path")
def test_processes_share_a_training_and_its_checkpoints(tmp_path):
    """The pairs, the gradient, the losses and the checkpoint are those of one process."""
    program = str(TESTS / "parallel_fits.py")
    if not TORCH:
        command = [sys.executable, program, str(tmp_path)]
        for process in [started(command, **told) for told in told_to_each()]:
            said, error = process.communicate(timeout=600)
            assert said.strip().endswith("alike"), error[-2000:]
        return
    from anyvox_keras.backend import run_processes

    before = dict(os.environ)
    assert run_processes([program, str(tmp_path)], 2) == 0
    with pytest.raises(ConnectionError, match=r"process 1 \(SIGKILL\) .* goes on .* --resume"):
        run_processes([program, str(tmp_path / "killed"), "kill"], 2)
    assert read_facts(tmp_path / "killed" / "state")["step"] >= 10
    assert dict(os.environ) == before  # what is run next has all cores
