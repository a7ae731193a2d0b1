"""Training VoxelMorph: what is compared, and that it learns without a scan."""

import keras
import numpy as np
import pytest
from battery import check_layer
from fake_stream import FakeStream

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.metrics import folds_percent, mean_dice
from anyvox_keras.ops import warp
from anyvox_keras.random import keys_for
from anyvox_keras.registration import DiceLoss, GradientPenalty, LocalNCCLoss
from anyvox_keras.voxelmorph import DeformedPairs, JoinedPairs, ScanPairs, VoxelMorphTrainer

SIDE = 16
RNG = np.random.default_rng(0)


def tiny(**arguments):
    defaults = dict(encoder=(4, 8), decoder=(8, 4, 4), flow_stride=2, conventions="0.2", seed=0)
    return avx.VoxelMorph(**{**defaults, **arguments})


def stream(**arguments):
    fake = FakeStream(side=SIDE, **arguments)
    fake.classes = 8
    return fake


def synthetic(count=2):
    shape = (count, SIDE, SIDE, SIDE)
    views = {name: RNG.random((*shape, 1), "float32") for name in ("view1", "view2")}
    return {
        "keys": keys_for(0, range(count)),
        "label_map": RNG.integers(0, 3, shape, "int32"),
        **views,
    }


@pytest.mark.slow
def test_deformed_pairs_pass_the_battery():
    check_layer(
        DeformedPairs, {"classes": 3, "scale": 6}, synthetic(), differentiable=False, atol=1e-3
    )


def test_without_motion_the_views_come_back():
    batch = synthetic()
    pair = DeformedPairs(3, std=0.0)(batch)
    np.testing.assert_allclose(to_numpy(pair["fixed"]), batch["view1"], atol=1e-5)
    np.testing.assert_array_equal(to_numpy(pair["moving_labels"]).argmax(-1), batch["label_map"])


def test_the_two_deformations_differ():
    batch = synthetic()
    batch["view2"] = batch["view1"]
    pair = {name: to_numpy(x) for name, x in DeformedPairs(3, std=2.0)(batch).items()}
    assert np.abs(pair["fixed"] - pair["moving"]).mean() > 0.05
    assert set(np.unique(pair["fixed_labels"])) == {0, 1}


def test_one_of_the_views_may_lack_labels():
    batch = synthetic(8)
    batch |= {name: batch[name] + 0.5 for name in ("view1", "view2")}
    pair = DeformedPairs(3, std=0.0, hidden=1.0)(batch)
    black = {
        name: [
            {int(k) for k in np.unique(labels[np.abs(view[..., 0]) < 1e-5])}
            for view, labels in zip(to_numpy(pair[name]), batch["label_map"], strict=True)
        ]
        for name in ("fixed", "moving")
    }
    for i, labels in enumerate(batch["label_map"]):
        fixed, moving = black["fixed"][i], black["moving"][i]
        assert not (fixed and moving)
        lacking = np.isin(labels, [*fixed, *moving])
        shown = to_numpy(pair["fixed" if fixed else "moving"])[i, ..., 0]
        np.testing.assert_allclose(shown[lacking], 0, atol=1e-5)
    assert any(black["fixed"])
    assert any(black["moving"])
    same = DeformedPairs(3, std=0.0)(batch)
    np.testing.assert_allclose(to_numpy(same["fixed"]), batch["view1"], atol=1e-5)


def test_loss_is_the_weighted_sum():
    model = tiny()
    batch = {name: RNG.random((1, SIDE, SIDE, SIDE, 1), "float32") for name in ("fixed", "moving")}
    batch |= {f"{name}_labels": batch[name] for name in ("fixed", "moving")}
    mse = keras.losses.MeanSquaredError()
    trainer = VoxelMorphTrainer(
        model, {"image": mse, "labels": DiceLoss()}, {"labels": 0.5}, smoothness=2.0
    )
    trainer.compile("sgd")
    outputs = model.register_both(batch["fixed"], batch["moving"])
    expected = (
        float(mse(batch["fixed"], outputs["moved"]))
        + 0.5 * float(DiceLoss()(batch["fixed"], outputs["moved"]))
        + 2.0 * float(GradientPenalty()(outputs["velocity"], outputs["velocity"]))
    )
    found = trainer.test_on_batch(batch, return_dict=True)
    assert found["loss"] == pytest.approx(expected, rel=1e-4)
    assert found["image"] == pytest.approx(float(mse(batch["fixed"], outputs["moved"])), rel=1e-4)


def one_hot(labels):
    return np.eye(3, dtype="float32")[labels]


def test_dice_and_folds_are_measured():
    """Against the host's measures, with a displacement too small to move a label."""
    labels = RNG.integers(0, 3, (2, 1, SIDE, SIDE, SIDE))
    batch = {name: RNG.random((1, SIDE, SIDE, SIDE, 1), "float32") for name in ("fixed", "moving")}
    batch |= {"fixed_labels": one_hot(labels[0]), "moving_labels": one_hot(labels[1])}
    trainer = VoxelMorphTrainer(tiny(), {"image": LocalNCCLoss(3)}, dice=True)
    trainer.compile("sgd")
    found = trainer.test_on_batch(batch, return_dict=True)
    displacement, _ = trainer.model.register(batch["fixed"], batch["moving"])
    assert np.abs(displacement).max() < 0.5
    assert found["dice"] == pytest.approx(mean_dice(*labels[:, 0], [1, 2]), rel=1e-4)
    assert found["folds_percent"] == pytest.approx(folds_percent(displacement[0]), abs=1e-4)


def test_a_batch_of_both_kinds_adds_their_totals():
    pairs = stream(steps=2, fixed=True)
    images = list(RNG.random((3, SIDE, SIDE, SIDE, 1), "float32"))
    both = JoinedPairs(pairs, ScanPairs(images, steps=2, fixed=True))
    losses = {"labels": DiceLoss(), "image": LocalNCCLoss(3)}
    model = tiny()
    trainer = VoxelMorphTrainer(model, losses, smoothness=0.0)
    trainer.compile("sgd")
    trainer.bind(both)
    found = trainer.evaluate(both, steps=1, verbose=0, return_dict=True)
    batch = both[0][0]
    drawn = {**pairs.layer(batch), "keys": batch["keys"]}
    pair = {name: to_numpy(x) for name, x in DeformedPairs(8)(drawn).items()}
    shift = model.register(pair["fixed"], pair["moving"])[0]
    moved = warp(pair["moving_labels"], shift, outside="edge")
    overlap = float(DiceLoss()(pair["fixed_labels"], moved))
    image = float(
        LocalNCCLoss(3)(batch["fixed"], model.register(batch["fixed"], batch["moving"])[1])
    )
    assert found["labels"] == pytest.approx(overlap, rel=1e-3)
    assert found["image"] == pytest.approx(image, rel=1e-3)
    assert found["loss"] == pytest.approx(overlap + image, rel=1e-3)


@pytest.mark.slow
def test_learns_from_the_stream_alone():
    """Contrasts are independent: only anatomy tells where to go."""
    pairs = stream(steps=20, fixed=True)
    model = tiny()
    trainer = VoxelMorphTrainer(
        model,
        {"labels": DiceLoss()},
        smoothness=0.1,
        deform=DeformedPairs(8, scale=8, std=(1.0, 2.0)),
    )
    trainer.compile(keras.optimizers.Adam(2e-3))
    losses = trainer.fit(pairs, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < 0.97 * losses[0]
    # The network goes on alone, on any size.
    displacement, _ = model.register(*RNG.random((2, 1, 12, 14, 10, 1), "float32"))
    assert displacement.shape == (1, 12, 14, 10, 3)


def scans(count):
    """Images and labels that say which scan they are."""
    ones = np.ones((SIDE, SIDE, SIDE, 1), "float32")
    return [ones * i for i in range(count)], [np.repeat(ones * i, 2, -1) for i in range(count)]


def test_scan_pairs_are_all_pairs_of_different_scans():
    images, labels = scans(3)
    pairs = ScanPairs(images, {"labels": labels}, masks=[x[..., 0] for x in images], steps=40)
    seen = set()
    for step in range(len(pairs)):
        batch = pairs[step][0]
        numbers = {name: set(x.ravel().astype(int)) for name, x in batch.items()}
        assert numbers["fixed"] == numbers["fixed_labels"] == numbers["fixed_mask"]
        assert numbers["moving"] == numbers["moving_labels"]
        seen.add((*numbers["fixed"], *numbers["moving"]))
    assert seen == {(a, b) for a in range(3) for b in range(3) if a != b}
    again = ScanPairs(images, steps=40)
    np.testing.assert_array_equal(pairs[7][0]["fixed"], again[7][0]["fixed"])
    first = [pairs[step][0]["fixed"].max() for step in range(40)]
    pairs.seek(40)
    assert first != [pairs[step][0]["fixed"].max() for step in range(40)]


def test_fits_on_scans_within_their_masks():
    images = list(RNG.random((3, SIDE, SIDE, SIDE, 1), "float32"))
    masks = [np.zeros((SIDE,) * 3) for _ in images]
    for mask in masks:
        mask[4:12, 4:12, 4:12] = 1
    pairs = ScanPairs(images, {"labels": images}, masks, steps=2)
    # An overlap is one number a sample: no mask weighs it.
    losses = {"image": LocalNCCLoss(3), "labels": DiceLoss()}
    trainer = VoxelMorphTrainer(tiny(), losses, {"labels": 0.0}, smoothness=0.0)
    trainer.compile("adam")
    assert np.isfinite(trainer.fit(pairs, verbose=0).history["loss"]).all()
    batch = pairs[0][0]
    outputs = trainer.model.register_both(batch["fixed"], batch["moving"])
    expected = LocalNCCLoss(3)(batch["fixed"], outputs["moved"], sample_weight=batch["fixed_mask"])
    found = trainer.test_on_batch(batch, return_dict=True)
    assert found["loss"] == pytest.approx(float(expected), rel=1e-4)


def test_mistakes_are_named():
    images, labels = scans(3)
    with pytest.raises(ValueError, match="`images` must be at least two"):
        ScanPairs(images[:1])
    with pytest.raises(ValueError, match="`labels` must be as many as"):
        ScanPairs(images, {"labels": labels[:2]})
    with pytest.raises(ValueError, match="`losses` must name"):
        VoxelMorphTrainer(tiny(), {})
    with pytest.raises(ValueError, match="`classes` must be >= 1"):
        DeformedPairs(0)
    with pytest.raises(ValueError, match="`scale` must be > 0"):
        DeformedPairs(2, scale=(8, 0))
    with pytest.raises(ValueError, match="`hidden` must be in"):
        DeformedPairs(2, hidden=2)
    with pytest.raises(ValueError, match="the same batch size"):
        JoinedPairs(stream(), ScanPairs(images, batch_size=2))
