"""Loss and metric against MONAI's."""

import keras
import numpy as np
import pytest

from anyvox_keras.backend import to_numpy
from anyvox_keras.metrics import dice
from anyvox_keras.segmentation import DiceCrossEntropy, DiceScore

SHAPE = (2, 6, 7, 5)


@pytest.fixture
def labels(rng):
    return rng.integers(0, 4, SHAPE).astype("int32")


@pytest.fixture
def logits(rng):
    return rng.normal(0, 2, (*SHAPE, 4)).astype("float32")


def monai_loss(labels, logits, **options):
    torch = pytest.importorskip("torch")
    losses = pytest.importorskip("monai.losses")
    loss = losses.DiceCELoss(softmax=True, to_onehot_y=True, **options)
    first = torch.from_numpy(np.moveaxis(logits, -1, 1).copy())
    return float(loss(first, torch.from_numpy(labels[:, None].astype("int64"))))


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("weights", [None, [0.1, 1.0, 2.0, 0.5]])
@pytest.mark.parametrize("shares", [(1.0, 1.0), (0.3, 2.0)])
def test_loss_equals_monai(labels, logits, background, weights, shares):
    torch = pytest.importorskip("torch")
    ours = DiceCrossEntropy(*shares, background=background, class_weights=weights)
    expected = monai_loss(
        labels, logits, include_background=background, lambda_dice=shares[0], lambda_ce=shares[1],
        weight=None if weights is None else torch.tensor(weights),
    )  # fmt: skip
    assert float(ours(labels, logits)) == pytest.approx(expected, rel=1e-5)


def test_ignored_voxels_are_as_if_cut_off(labels, logits):
    expected = monai_loss(labels[:, :4], logits[:, :4], include_background=False)
    labels[:, 4:] = 255
    assert float(DiceCrossEntropy(ignore_label=255)(labels, logits)) == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("rarity", [0.5, 1.0])
def test_rare_classes_weigh_as_if_their_weights_were_given(rng, logits, rarity):
    """MONAI weighs the cross-entropy so when it is told the weights."""
    torch = pytest.importorskip("torch")
    labels = rng.choice(4, SHAPE, p=[0.9, 0.07, 0.03, 0.0]).astype("int32")
    voxels = np.maximum(np.bincount(labels.ravel(), minlength=4)[1:], 1)
    weights = torch.tensor([1.0, *(voxels.max() / voxels) ** rarity], dtype=torch.float32)
    expected = monai_loss(labels, logits, lambda_dice=0.0, weight=weights)
    ours = DiceCrossEntropy(0.0, rarity=rarity)
    assert float(ours(labels, logits)) == pytest.approx(expected, rel=1e-5)


def test_a_perfect_prediction_costs_nothing(labels):
    logits = 50.0 * np.eye(4, dtype="float32")[labels]
    assert float(DiceCrossEntropy()(labels, logits)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"dice_weight": -1}, "weights must be >= 0"),
        ({"rarity": -1}, "`rarity` must be >= 0"),
        ({"class_weights": [1, 1]}, "4 numbers"),
    ],
)
def test_bad_weights_are_refused(labels, logits, arguments, reason):
    with pytest.raises(ValueError, match=reason):
        DiceCrossEntropy(**arguments)(labels, logits)


def test_score_equals_the_dice_of_the_host(labels, logits):
    score = DiceScore(3)
    for one in range(2):
        score.update_state(labels[one : one + 1], logits[one : one + 1])
    expected = dice(logits.argmax(-1), labels, (1, 2, 3))
    result = {name: float(to_numpy(value)) for name, value in score.result().items()}
    for label, value in expected.items():
        assert result[f"dice_{label}"] == pytest.approx(value, rel=1e-5)
    assert result["dice"] == pytest.approx(np.mean(list(expected.values())), rel=1e-5)


def test_loss_and_score_come_back_from_their_config():
    for part in (
        DiceCrossEntropy(0.5, ignore_label=9, rarity=0.5, class_weights=[1, 2]),
        DiceScore(2, 9),
    ):
        stored = keras.saving.serialize_keras_object(part)
        assert keras.saving.deserialize_keras_object(stored).get_config() == part.get_config()
