"""What version 0.1 saved, on PyTorch, loads and computes the same: files, presets, run folders."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.cli import main
from anyvox_keras.contrastive import PretrainingRun
from anyvox_keras.segmentation import Dataset, SegmentationRun, load_run
from anyvox_keras.training.checkpoint import load_state, read_facts
from anyvox_keras.voxelmorph import VoxelMorphRun, load_network

SAVED = Path(__file__).parent / "saved" / "0.1"


@pytest.fixture(scope="module")
def outputs():
    """An input `x`, and what each model of version 0.1 made of it."""
    with np.load(SAVED / "outputs.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", ["unet", "pretrainer", "segmenter"])
def test_a_model_computes_what_it_did(name, outputs):
    model = avx.load_model(SAVED / f"{name}.keras")
    network = model.backbone if name == "pretrainer" else model
    found = to_numpy(network.predict_on_batch(outputs["x"]))
    np.testing.assert_allclose(found, outputs[name], rtol=0, atol=2e-5)


def test_a_preset_loads():
    preset = avx.UNet.from_preset(SAVED / "preset")
    for a, b in zip(preset.weights, avx.load_model(SAVED / "unet.keras").weights, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def assert_same_weights(network, other):
    for a, b in zip(network.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_pretraining_run_goes_on():
    folder = SAVED / "pretrain"
    run = PretrainingRun(folder, PretrainingRun.read_settings(folder))
    assert run.finished
    run.dataset = Dataset([], [])  # no labels to ignore
    model = run.model()
    load_state(folder / "state", model)
    assert_same_weights(model.backbone, avx.UNet.from_preset(folder))
    assert int(model.optimizer.iterations) == read_facts(folder / "state")["step"] == 3


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    folder = shutil.copytree(SAVED / "pretrain", tmp_path / "run")

    def contents():
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = contents()
    assert main(["pretrain", "--out", str(folder), "--resume"]) == 0
    assert contents() == before


def test_a_segmentation_run_predicts(tmp_path, outputs):
    folder = shutil.copytree(SAVED / "segment", tmp_path / "run")
    run = SegmentationRun(folder, SegmentationRun.read_settings(folder))
    run.classes = json.loads((folder / "classes.json").read_text())["classes"]  # not from its data
    run.dataset = Dataset([], [])  # no labels to ignore
    model = run.model()
    load_state(folder / "state", model)
    assert_same_weights(model.backbone, avx.UNet.from_preset(folder))
    # The folder keeps no `last.weights.h5`, which holds the same numbers as its state.
    model.save_weights(folder / "last.weights.h5")
    loaded, settings = load_run(folder)
    assert settings.side == 12
    found = to_numpy(loaded.predict_on_batch(outputs["x"]))
    assert found.shape == (1, 16, 16, 16, 3)
    np.testing.assert_allclose(found, to_numpy(model.predict_on_batch(outputs["x"])), atol=1e-5)


def test_a_voxelmorph_run_registers(outputs):
    folder = SAVED / "voxelmorph"
    network = load_network(folder)
    trained = VoxelMorphRun(folder, VoxelMorphRun.read_settings(folder)).network
    trained.load_weights(folder / "last.weights.h5")
    assert_same_weights(network, trained)
    displacement, moved = network.register(outputs["x"], outputs["x"][:, ::-1])
    assert displacement.shape == (1, 16, 16, 16, 3)
    assert np.isfinite(moved).all()
    assert np.abs(displacement).max() > 0
