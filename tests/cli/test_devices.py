"""`--devices`: what cannot train together is refused before anything is made."""

import json

import keras
import pytest

from anyvox_keras.cli import main

WORKERS = json.dumps(
    {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
)
NAMES = {
    "torch": {"RANK": "0", "WORLD_SIZE": "2"},
    "jax": {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"},
    "tensorflow": {"TF_CONFIG": WORKERS},
}
BACKEND = keras.backend.backend()


def refused(capsys, folder):
    assert main(["pretrain", "--out", str(folder / "run"), "--steps", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not (folder / "run").exists()
    return line


@pytest.mark.parametrize("named", set(NAMES) - {BACKEND})
def test_a_cluster_of_another_backend_is_refused(tmp_path, capsys, monkeypatch, named):
    """Each of its processes would train the same run by itself."""
    for name, value in NAMES[named].items():
        monkeypatch.setenv(name, value)
    said = refused(capsys, tmp_path)
    assert f"KERAS_BACKEND: expected {named}, of which the environment names 2 processes" in said
    assert said.endswith(f"received {BACKEND}")


@pytest.mark.parametrize("told", ["{", "[]", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}})])
def test_a_cluster_that_is_none_is_refused(tmp_path, capsys, monkeypatch, told):
    monkeypatch.setenv("TF_CONFIG", told)
    assert "TF_CONFIG: expected JSON with `cluster` and `task`" in refused(capsys, tmp_path)


@pytest.mark.parametrize("name", ["WORLD_SIZE", "KERAS_DISTRIBUTION_NUM_PROCESSES"])
def test_a_count_that_is_no_number_is_named(tmp_path, capsys, monkeypatch, name):
    monkeypatch.setenv(name, "two")
    assert f"{name}: expected a whole number" in refused(capsys, tmp_path)


@pytest.mark.parametrize("devices", ["0", "some", "-1"])
def test_a_number_of_devices_is_one_or_more_or_all(tmp_path, capsys, devices):
    assert main(["pretrain", "--out", str(tmp_path), "--devices", devices]) == 2
    assert "expected a number of devices or all" in capsys.readouterr().err
