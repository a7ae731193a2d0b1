"""The loss against arrays of the paper's code, and its own promises."""

import numpy as np
import pytest
from keras import ops

from anyvox_keras.contrastive import MultiPositiveContrastiveLoss
from anyvox_keras.ops._backend import to_numpy, value_and_gradient


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
