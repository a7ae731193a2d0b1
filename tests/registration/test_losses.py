"""The losses of registration against neurite, MONAI and convexadam."""

import keras
import numpy as np
import pytest
import torch
from convexAdam.convex_adam_utils import MINDSSC
from keras import ops
from monai.losses import BendingEnergyLoss, GlobalMutualInformationLoss

import anyvox_keras as avx
from anyvox_keras.backend import compiled, to_numpy, value_and_gradient
from anyvox_keras.registration import (
    BendingEnergy,
    DiceLoss,
    GradientPenalty,
    InverseConsistencyLoss,
    LocalNCCLoss,
    MINDLoss,
    MutualInformationLoss,
    as_torch_module,
)

nef = pytest.importorskip("neurite").nn.functional

RNG = np.random.default_rng(0)
FIXED, MOVED = RNG.random((2, 2, 11, 12, 13, 1), "float32")
FIELD = RNG.normal(size=(2, 7, 8, 9, 3)).astype("float32")
LABELS = np.eye(4, dtype="float32")[RNG.integers(0, 3, (2, 2, 6, 7, 8))]


def first(x):
    """Channels first, for PyTorch."""
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def value(loss, *arguments, **masks):
    return float(loss(*arguments, **masks))


@pytest.mark.parametrize("window", [3, 9])
def test_local_ncc_equals_neurite(window):
    expected = 1 - float(nef.ncc(first(FIXED), first(MOVED), window))
    assert value(LocalNCCLoss(window), FIXED, MOVED) == pytest.approx(expected, abs=1e-5)
    assert value(LocalNCCLoss(window), FIXED, 3 * FIXED + 1) < 0.05


def test_dice_equals_neurite():
    soft = 0.7 * LABELS[0] + 0.1
    expected = 1 - float(nef.dice(first(LABELS[1]), first(soft)))
    assert value(DiceLoss(), LABELS[1], soft) == pytest.approx(expected, abs=1e-6)
    assert value(DiceLoss(), LABELS[0], LABELS[0]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_gradient_equals_neurite(penalty):
    expected = float(nef.spatial_gradient(first(FIELD), penalty))
    assert value(GradientPenalty(penalty), FIELD, FIELD) == pytest.approx(expected, rel=1e-5)


def test_bending_equals_monai():
    expected = float(BendingEnergyLoss()(first(FIELD)))
    assert value(BendingEnergy(), FIELD, FIELD) == pytest.approx(expected, rel=1e-5)
    affine = np.moveaxis(np.indices((6, 7, 8)), 0, -1)[None] @ RNG.normal(size=(3, 3))
    assert value(BendingEnergy(), affine, affine) < 1e-9


def test_mutual_information_equals_monai():
    x, y = FIXED, FIXED**2 * 0.8 + 0.2 * MOVED
    expected = float(GlobalMutualInformationLoss()(first(y), first(x)))
    assert value(MutualInformationLoss(), x, y) == pytest.approx(expected, abs=1e-5)
    assert value(MutualInformationLoss(), x, 1 - x) < value(MutualInformationLoss(), x, MOVED) - 1


def test_mind_equals_convexadam():
    x, y = (MINDSSC(first(image), 1, 2, device="cpu") for image in (FIXED[:1], MOVED[:1]))
    expected = float(((x - y) ** 2).mean())
    assert value(MINDLoss(), FIXED[:1], MOVED[:1]) == pytest.approx(expected, rel=1e-4)


def test_inverse_consistency_of_translations():
    """Left over of the way by (1, 2, 0) and back by (-1, 0, 0): two voxels."""
    there = np.zeros((1, 6, 6, 6, 3), "float32") + np.array([1, 2, 0], "float32")
    back = np.zeros_like(there) - np.array([1, 0, 0], "float32")
    assert value(InverseConsistencyLoss(), back, there) == pytest.approx(4)
    assert value(InverseConsistencyLoss(), -there, there) == pytest.approx(0)


LOSSES = [
    (LocalNCCLoss(3), FIXED, MOVED),
    (MutualInformationLoss(), FIXED, MOVED),
    (MINDLoss(), FIXED, MOVED),
    (DiceLoss(), LABELS[0], LABELS[1]),
    (GradientPenalty(), FIELD, FIELD),
    (BendingEnergy(), FIELD, FIELD),
    (InverseConsistencyLoss(), FIELD, FIELD),
]
each_loss = pytest.mark.parametrize(
    ("loss", "x", "y"), LOSSES, ids=[type(loss).__name__ for loss, *_ in LOSSES]
)


@each_loss
def test_compiled_gradient_and_config(loss, x, y):
    x, y = (ops.convert_to_tensor(a) for a in (x, y))
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    descent = value_and_gradient(lambda y, x: again(x, y))
    result, slope = compiled(descent)(y, x)
    assert float(result) == pytest.approx(value(loss, x, y), rel=1e-4)
    assert np.isfinite(to_numpy(slope)).all()
    assert np.abs(to_numpy(slope)).max() > 0
    alone = [float(loss(x[i : i + 1], y[i : i + 1])) for i in range(2)]
    assert np.mean(alone) == pytest.approx(float(result), rel=1e-4), "the mean over the batch"


@pytest.mark.parametrize("loss", [LocalNCCLoss(3), MINDLoss()])
def test_a_mask_counts_only_its_voxels(loss):
    mask = np.zeros(FIXED.shape[:-1], "float32")
    mask[:, 2:5, 3:7, 4:9] = 1
    voxels = to_numpy(loss.call(ops.convert_to_tensor(FIXED), ops.convert_to_tensor(MOVED)))
    expected = voxels[mask > 0].mean()
    assert value(loss, FIXED, MOVED, sample_weight=mask) == pytest.approx(expected, rel=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's loop")
@pytest.mark.parametrize("loss", [LocalNCCLoss(3), MINDLoss()])
def test_as_torch_module(loss):
    warped = first(MOVED).requires_grad_(True)
    result = as_torch_module(loss)(first(FIXED), warped)
    assert float(result) == pytest.approx(value(loss, FIXED, MOVED), rel=1e-6)
    result.backward()
    assert warped.grad.abs().max() > 0


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="`window` must be odd"):
        LocalNCCLoss(4)
    with pytest.raises(ValueError, match="`penalty` must be one of l1, l2"):
        GradientPenalty("l3")
    with pytest.raises(ValueError, match="`bins` must be >= 2"):
        MutualInformationLoss(1)
    with pytest.raises(ValueError, match="`distance` must be one of"):
        avx.FeatureLoss(lambda x: x, distance="euclidean")
    if keras.backend.backend() != "torch":
        with pytest.raises(ValueError, match="KERAS_BACKEND=torch"):
            as_torch_module(DiceLoss())
