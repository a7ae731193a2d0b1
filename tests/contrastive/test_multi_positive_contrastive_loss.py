"""The loss against arrays of the paper's code, and its own promises."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from anyvox_keras.backend import to_numpy, value_and_gradient
from anyvox_keras.contrastive import (
    MultiPositiveContrastiveLoss,
    multi_positive_contrastive_loss as anchor_losses,
)


@pytest.fixture(scope="module")
def oracle(data):
    return np.load(data / "oracle" / "supcon_loss.npz")


def both_views(oracle):
    """Return labels (1, 192) and rows (1, 192, 24): the first view's, then the second's."""
    d, h, w = (oracle["coords"] * 16 // oracle["grid"]).T
    labels = oracle["seg"][d, h, w].astype("int32")
    return np.tile(labels, 2)[None], np.concatenate(oracle["features"])[None]


CASES = [
    (temperature, rarity, balance)
    for temperature in (0.33, 0.07)
    for rarity, balance in (
        (None, None), ("raw", None), ("sqrt", None), (None, "raw"), (None, "sqrt"),
        ("raw", "raw"), ("sqrt", "sqrt"),
    )
]  # fmt: skip


@pytest.mark.parametrize(("temperature", "rarity", "balance"), CASES)
def test_equals_the_papers_code(oracle, temperature, rarity, balance):
    labels, rows = both_views(oracle)
    loss = MultiPositiveContrastiveLoss(temperature, rarity, balance)
    name = f"T{temperature}_rarity{int(rarity is not None)}_balance{int(balance is not None)}"
    name += f"_{rarity or balance or 'raw'}"
    value, slope = value_and_gradient(lambda z: loss(labels, z))(ops.convert_to_tensor(rows))
    assert float(value) == pytest.approx(float(oracle[f"loss_{name}"]), rel=1e-5)
    norm = np.linalg.norm(to_numpy(slope).astype("float64"))
    assert norm == pytest.approx(float(oracle[f"gradnorm_{name}"]), rel=1e-5)
    if name == "T0.33_rarity0_balance0_raw":
        expected = np.concatenate(oracle["grad"])[None]
        error = np.abs(to_numpy(slope) - expected).max()
        assert error < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("balance", [None, "sqrt"])
def test_blocks_of_rows_make_no_difference(oracle, balance, monkeypatch):
    labels, rows = both_views(oracle)
    loss = MultiPositiveContrastiveLoss(0.33, balance=balance)
    found = []
    # All rows at once, as the oracle's own test; then blocks of 50, the last one shorter.
    for block in (anchor_losses.BLOCK, 50 * labels.size):
        monkeypatch.setattr(anchor_losses, "BLOCK", block)
        anchor_losses._compiled_law.cache_clear()
        value, slope = value_and_gradient(lambda z: loss(labels, z))(ops.convert_to_tensor(rows))
        found.append((float(value), to_numpy(slope)))
    anchor_losses._compiled_law.cache_clear()
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-6 * np.abs(found[0][1]).max())


@pytest.mark.parametrize(("rarity", "balance"), [(None, None), ("sqrt", "raw")])
def test_two_labellings_at_once_equal_each_alone(oracle, rarity, balance):
    labels, rows = both_views(oracle)
    voxels = np.tile(np.arange(labels.size // 2, dtype="int32"), 2)[None]
    loss, rows = MultiPositiveContrastiveLoss(0.2, rarity, balance), ops.convert_to_tensor(rows)

    def together(z):
        regions, places = ops.unstack(loss.of_labellings(np.stack([labels, voxels]), z), 2)
        return ops.mean(0.3 * regions + 0.7 * places)

    value, slope = value_and_gradient(together)(rows)
    found = [value_and_gradient(lambda z, y=y: loss(y, z))(rows) for y in (labels, voxels)]
    expected = [
        0.3 * to_numpy(one) + 0.7 * to_numpy(other) for one, other in zip(*found, strict=True)
    ]
    assert float(value) == pytest.approx(expected[0], rel=1e-5)
    np.testing.assert_allclose(to_numpy(slope), expected[1], atol=1e-6 * np.abs(expected[1]).max())


def written_out(labels, rows, temperature):
    """The law, anchor by anchor, over the anchors that have a positive."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similarity = unit @ unit.T / temperature
    losses = []
    for i, label in enumerate(labels):
        others = np.arange(len(labels)) != i
        positives = others & (labels == label)
        if positives.any():
            total = np.log(np.exp(similarity[i, others]).sum())
            losses.append(np.mean(total - similarity[i, positives]))
    return np.mean(losses)


def test_rows_without_a_positive_are_ignored(rng):
    labels, rows = np.asarray([0, 3, 0, 1, 1, 7, 1]), rng.normal(size=(7, 4)).astype("float32")
    loss = MultiPositiveContrastiveLoss(0.2)
    value = float(loss(labels[None], rows[None]))
    assert value == pytest.approx(written_out(labels, rows.astype("float64"), 0.2), rel=1e-5)


def test_no_positive_at_all_is_zero_not_nan(rng):
    rows = ops.convert_to_tensor(rng.normal(size=(1, 5, 4)).astype("float32"))
    loss = MultiPositiveContrastiveLoss()
    value, slope = value_and_gradient(lambda z: loss(np.arange(5)[None], z))(rows)
    assert float(value) == 0
    np.testing.assert_array_equal(to_numpy(slope), 0)


@pytest.mark.slow
def test_memory_of_long_row_lists(root):
    script = root / "benchmarks" / "training.py"
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend(), "PYTHONPATH": str(root)}
    ran = subprocess.run(
        [sys.executable, script, "--child", "loss", "--sides", "0", "--precision", "float32"],
        env=environment, capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert json.loads(ran.stdout.splitlines()[-1])["step_mb"] < 400
