"""`--devices`: what cannot train together is refused before anything is made."""

import json

import keras
import pytest

from anyvox_keras.cli import main

WORKERS = json.dumps({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker"}})


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="which trains in several processes")
@pytest.mark.parametrize(
    ("name", "told"), [("TF_CONFIG", WORKERS), ("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")]
)
def test_a_cluster_that_would_train_each_by_itself_is_refused(
    tmp_path, capsys, monkeypatch, name, told
):
    monkeypatch.setenv(name, told)
    assert main(["pretrain", "--out", str(tmp_path / "run"), "--steps", "1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert f"{name}: expected one process, received 2" in lines[0]
    assert "torchrun" in lines[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("devices", ["0", "some", "-1"])
def test_a_number_of_devices_is_one_or_more_or_all(tmp_path, capsys, devices):
    assert main(["pretrain", "--out", str(tmp_path), "--devices", devices]) == 2
    assert "expected a number of devices or all" in capsys.readouterr().err
