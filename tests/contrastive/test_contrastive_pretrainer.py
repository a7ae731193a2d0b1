"""The pretrainer: compile, fit, nothing else."""

import keras
import numpy as np
import pytest
from fake_stream import FakeStream
from keras import ops

from anyvox_keras.backend import no_gradient, to_numpy
from anyvox_keras.contrastive import (
    ContrastivePretrainer,
    MultiPositiveContrastiveLoss,
    PretrainingRun,
    RunSettings,
    alignment,
)
from anyvox_keras.networks import UNet
from anyvox_keras.random import fold_in
from anyvox_keras.synthesis.augmentation import TrainTimeAugmentation

CHEAP = {"samples": 64, "width": 16, "augmentation": None}


def make(**arguments):
    backbone = UNet(width=4, levels=2, output_channels=6, seed=0)
    return ContrastivePretrainer(backbone, **{**CHEAP, **arguments})


def test_compile_and_fit_lower_the_loss():
    pretrainer = make()
    pretrainer.compile(keras.optimizers.Adam(1e-2))
    same_pairs = FakeStream(steps=3, fixed=True)
    history = pretrainer.fit(same_pairs, epochs=6, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 0.1
    assert history["alignment"][-1] > history["alignment"][0]
    taps = ["encoder_2_2_conv", "bottleneck_1_conv", "decoder_1_1_conv", "output_conv"]
    assert set(history) == {"loss", "alignment", *(f"loss_{tap}" for tap in taps)}
    np.testing.assert_allclose(
        history["loss"], np.mean([history[f"loss_{tap}"] for tap in taps], axis=0), rtol=1e-4
    )


def test_plain_arrays_train_like_the_stream_that_made_them():
    stream = FakeStream(batch_size=2, steps=1)
    weights = []
    for data in (stream, {**next(stream.arrays()), "keys": stream[0][0]["keys"]}):
        stream.seek(0)
        pretrainer = make()
        pretrainer.compile(keras.optimizers.SGD(0.1))
        pretrainer.fit(data, verbose=0)
        weights.append([to_numpy(w) for w in pretrainer.backbone.weights])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_arrays_without_keys_draw_other_voxels_each_step():
    pretrainer = make()
    pretrainer.compile(keras.optimizers.SGD(0.0))
    pair = next(FakeStream().arrays())
    losses = [pretrainer.train_on_batch(pair, return_dict=True)["loss"] for _ in range(2)]
    assert losses[0] != losses[1]


def test_pairs_of_a_step_never_cross():
    # With statistics frozen (inference), a batch's loss is the mean of its pairs' losses.
    pretrainer = make()
    pretrainer.compile()
    stream = FakeStream(batch_size=3)
    pair = {**next(stream.arrays()), "keys": stream[0][0]["keys"]}
    together = pretrainer.test_on_batch(pair, return_dict=True)["loss"]
    alone = [
        pretrainer.test_on_batch({k: v[i : i + 1] for k, v in pair.items()}, return_dict=True)[
            "loss"
        ]
        for i in range(3)
    ]
    assert together == pytest.approx(np.mean(alone), rel=1e-4)


def test_both_views_are_read_at_the_same_voxels_with_their_labels():
    pretrainer = make(samples=16**3)
    stream = FakeStream()
    pair = next(stream.arrays())
    pair["view2"] = pair["view1"]
    with no_gradient():
        outputs = pretrainer(pair, training=False)
    first, second = np.split(to_numpy(outputs["features"]), 2, axis=1)
    np.testing.assert_array_equal(first, second)
    # All voxels were drawn, each once: the labels are the map's, in another order.
    counts = np.bincount(to_numpy(outputs["labels"])[0], minlength=8)
    np.testing.assert_array_equal(counts, 2 * np.bincount(pair["label_map"].ravel(), minlength=8))
    coarse = to_numpy(outputs["labels:bottleneck_1_conv"])[0]
    expected = np.bincount(pair["label_map"][0, ::4, ::4, ::4].ravel(), minlength=8)
    np.testing.assert_array_equal(np.bincount(coarse, minlength=8), 2 * expected)


def test_each_view_is_cut_at_a_place_of_its_own_with_its_labels():
    pretrainer = make(crop=8)
    # Every voxel has a label and an intensity of its own: the number of its place.
    places = np.arange(16**3, dtype="int32").reshape(1, 16, 16, 16)
    view = places[..., None].astype("float32")
    pair = {"label_map": places, "view1": view, "view2": view}
    corners = set()
    for seed in range(3):
        keys = np.full((1, 2), seed, "int32")
        for name in ("view1", "view2"):
            cube, labels, corner = (to_numpy(x) for x in pretrainer._cube(pair, name, keys, True))
            np.testing.assert_array_equal(cube[..., 0], labels)
            assert labels.shape == (1, 8, 8, 8)
            assert np.ptp(labels) == 7 * (256 + 16 + 1)
            assert labels.min() == corner[0] @ [256, 16, 1]
            corners.add(int(labels.min()))
    assert len(corners) == 6
    first, second = (pretrainer._cube(pair, name, keys, False) for name in ("view1", "view2"))
    np.testing.assert_array_equal(to_numpy(first[1]), to_numpy(second[1]))


@pytest.mark.parametrize("crop", [None, 12])
def test_a_voxel_meets_itself_in_the_other_view(crop):
    pretrainer = make(crop=crop, voxel_weight=0.5, samples=300)
    places = np.arange(16**3, dtype="int32").reshape(1, 16, 16, 16)
    view = np.random.default_rng(0).normal(size=(1, 16, 16, 16, 1)).astype("float32")
    pair = {"label_map": places, "view1": view, "view2": view, "keys": np.ones((1, 2), "int32")}
    with no_gradient():
        outputs = pretrainer(pair, training=True)
    voxels, labels = (to_numpy(outputs[f"{x}:output_conv"])[0] for x in ("voxels", "labels"))
    # Each place is a label of its own here: voxels agree where, and only where, labels do.
    same = voxels[:300, None] == voxels[None, 300:]
    assert 0 < same.sum() <= 300
    assert (same.sum() == 300) == (crop is None)
    np.testing.assert_array_equal(labels[:300][same.any(1)], labels[300:][same.any(0)])
    assert not np.isin(labels[300:][~same.any(0)], labels[:300][same.any(1)]).any()
    assert len(set(labels[300:])) == 300
    pretrainer.compile()
    assert np.isfinite(pretrainer.train_on_batch(pair, return_dict=True)["loss"])


def test_more_cubes_of_a_pair_are_further_pairs():
    batch = {
        **next(FakeStream(batch_size=2).arrays()),
        "keys": FakeStream(batch_size=2)[0][0]["keys"],
    }
    one, three = make(crop=8), make(crop=8, cubes=3)
    with no_gradient():
        alone, together = (model(batch, training=True) for model in (one, three))
        assert three(batch, training=False)["labels"].shape[0] == 2
    labels = to_numpy(together["labels"])
    np.testing.assert_array_equal(labels[:2], to_numpy(alone["labels"]))
    assert labels.shape[0] == 6
    # Each has places and voxels of its own.
    assert len({tuple(row) for row in labels}) == 6
    three.compile()
    assert np.isfinite(three.train_on_batch(batch, return_dict=True)["loss"])
    assert ContrastivePretrainer.from_config(three.get_config()).cubes == 3
    with pytest.raises(ValueError, match="`cubes` must be >= 1, and 1 without `crop`"):
        make(cubes=2)


@pytest.mark.parametrize("training", [True, False])
def test_views_are_scaled_by_their_percentile_without_augmentation_too(training):
    batch = next(FakeStream().arrays())
    views = {name: 5 + 300 * batch[name] for name in ("view1", "view2")}
    pair, _ = make()._pair(batch | views, training)
    for name, view in views.items():
        low, high = np.percentile(view, (0, 99.99))
        found = to_numpy(pair[name])
        np.testing.assert_allclose(found, (view - low) / (high - low), rtol=1e-4, atol=1e-5)


def test_rows_of_two_cubes_carry_the_labels_of_each():
    pretrainer = make(crop=8, samples=8**3)
    batch = {**next(FakeStream().arrays()), "keys": FakeStream()[0][0]["keys"]}
    with no_gradient():
        outputs = pretrainer(batch, training=True)
    shown = [
        to_numpy(pretrainer._cube(batch, name, batch["keys"], True)[1])
        for name in ("view1", "view2")
    ]
    found = np.split(to_numpy(outputs["labels"])[0], 2)
    for labels, cube in zip(found, shown, strict=True):
        expected = np.bincount(cube.ravel(), minlength=8)
        np.testing.assert_array_equal(np.bincount(labels, minlength=8), expected)
    assert (shown[0] != shown[1]).any()
    pretrainer.compile()
    assert np.isfinite(pretrainer.train_on_batch(batch, return_dict=True)["loss"])
    assert ContrastivePretrainer.from_config(pretrainer.get_config()).crop == 8


def test_a_batch_that_is_no_pair_is_refused():
    pretrainer = make()
    with pytest.raises(ValueError, match="must hold label_map, view1, view2"):
        pretrainer({"image": np.zeros((1, 16, 16, 16, 1))})


def test_file_round_trip_keeps_weights_and_settings(tmp_path):
    pretrainer = make(temperature=0.2, rarity="sqrt", taps=[3, "output_conv"], recipe="paper")
    pretrainer.compile()
    pretrainer.fit(FakeStream(steps=1), verbose=0)
    pretrainer.save(tmp_path / "p.keras")
    loaded = keras.saving.load_model(tmp_path / "p.keras")
    assert loaded.get_config() == pretrainer.get_config()
    stream = FakeStream()
    pair = {**next(stream.arrays()), "keys": stream[0][0]["keys"]}
    a, b = (p.test_on_batch(pair, return_dict=True)["loss"] for p in (pretrainer, loaded))
    assert a == pytest.approx(b, abs=1e-6)
    # A bound stream's layer is no part of the weights: an unbound pretrainer loads them.
    pretrainer.save_weights(tmp_path / "p.weights.h5")
    other = make(taps=[3, "output_conv"], seed=5)
    other.load_weights(tmp_path / "p.weights.h5")
    pretrainer.load_weights(tmp_path / "p.weights.h5")


@pytest.mark.parametrize(
    ("recipe", "beta", "decay"), [("released", 0.9, 1e-5), ("paper", 0.5, None)]
)
def test_recipes_are_the_published_optimizers(recipe, beta, decay):
    pretrainer = make(recipe=recipe)
    pretrainer.compile()
    optimizer = pretrainer.optimizer
    assert isinstance(optimizer, keras.optimizers.AdamW) == (decay is not None)
    assert optimizer.beta_1 == beta
    assert optimizer.weight_decay == decay
    assert float(optimizer.learning_rate) == pytest.approx(2e-4)


def test_a_clip_norm_is_that_of_all_weights_together(tmp_path, rng):
    model = make()
    PretrainingRun(tmp_path, RunSettings(steps=8, clip_norm=2.0)).compile(model)
    gradients = [rng.normal(size=shape).astype("float32") for shape in ((3, 4), (5,))]
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    assert norm > 2
    clipped = model.optimizer._clip_gradients([ops.convert_to_tensor(g) for g in gradients])
    for found, gradient in zip(clipped, gradients, strict=True):
        np.testing.assert_allclose(to_numpy(found), gradient * 2 / norm, rtol=1e-5)


def test_validation_is_32_pairs_that_training_never_sees(tmp_path):
    run = PretrainingRun(tmp_path, RunSettings(side=16, steps=40, shapes=2, batch_size=2))
    training, held_out = run.streams()
    assert len(held_out) * held_out.batch_size == 32

    def keys(stream):
        return np.concatenate([stream[step][0]["keys"] for step in range(16)])

    first = keys(held_out)
    assert len(np.unique(first, axis=0)) == 32
    assert not {*map(tuple, first)} & {*map(tuple, keys(training))}
    held_out.on_epoch_end()
    np.testing.assert_array_equal(keys(held_out), first)


def test_the_released_recipe_augments_in_training_only():
    layer = make(augmentation="recipe").augmentation
    assert isinstance(layer, TrainTimeAugmentation)
    assert make(augmentation="recipe", recipe="paper").augmentation is None
    stream = FakeStream()
    batch = {**next(stream.arrays()), "keys": stream[0][0]["keys"]}
    augmented, plain = make(augmentation="recipe"), make()
    with no_gradient():
        shown = [to_numpy(m(batch, training=False)["features"]) for m in (augmented, plain)]
        np.testing.assert_array_equal(*shown)
        # Its own keys, from the pair's: the same each time, and none of the synthesis's draws.
        pair = {name: batch[name] for name in ("label_map", "view1", "view2")}
        own = layer(pair, fold_in(batch["keys"], "augmentation"), training=True)
        pair, _ = augmented._pair(batch, training=True)
    assert np.abs(to_numpy(pair["view1"]) - batch["view1"]).max() > 0
    np.testing.assert_allclose(to_numpy(pair["view1"]), to_numpy(own["view1"]), atol=1e-5)
    assert set(np.unique(to_numpy(pair["label_map"]))) <= set(range(8))


def test_the_default_recipe_trains_and_saves(tmp_path):
    pretrainer = make(augmentation="recipe")
    pretrainer.compile()
    history = pretrainer.fit(FakeStream(steps=2), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    again = ContrastivePretrainer.from_config(pretrainer.get_config())
    assert again.augmentation.get_config() == pretrainer.augmentation.get_config()


def test_mixed_precision_keeps_the_loss_in_float32():
    backbone = UNet(width=4, levels=2, seed=0, dtype="mixed_bfloat16")
    pretrainer = ContrastivePretrainer(backbone, **CHEAP, dtype="mixed_bfloat16")
    pretrainer.compile()
    history = pretrainer.fit(FakeStream(steps=2), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    rows = np.random.default_rng(0).normal(size=(1, 8, 4))
    loss = MultiPositiveContrastiveLoss()(np.arange(8)[None] % 2, ops.cast(rows, "bfloat16"))
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"


def test_alignment_is_the_cosine_gap():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 1, 30, 5)).astype("float32")
    labels = rng.integers(0, 3, size=(1, 30))
    unit = [x[0] / np.linalg.norm(x[0], axis=1, keepdims=True) for x in (first, second)]
    cosine, same = unit[0] @ unit[1].T, labels[0][:, None] == labels[0][None]
    expected = cosine[same].mean() - cosine[~same].mean()
    assert float(alignment(first, second, labels)[0]) == pytest.approx(expected, abs=1e-5)
    assert float(alignment(first, second, 0 * labels)[0]) == 0
    # Read at other voxels, the second view has labels of its own.
    order = rng.permutation(30)
    moved = alignment(first, second[:, order], labels, labels[:, order])
    assert float(moved[0]) == pytest.approx(expected, abs=1e-5)


def test_tap_weights_weigh_the_mean_of_the_losses():
    pair = {**next(FakeStream().arrays()), "keys": FakeStream()[0][0]["keys"]}
    pretrainer = make(taps=["decoder_1_1_conv", "output_conv"], tap_weights=[1, 3], balanced=True)
    pretrainer.compile()
    found = pretrainer.test_on_batch(pair, return_dict=True)
    expected = 0.25 * found["loss_decoder_1_1_conv"] + 0.75 * found["loss_output_conv"]
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    assert ContrastivePretrainer.from_config(pretrainer.get_config()).tap_weights == [0.25, 0.75]
    with pytest.raises(ValueError, match="`tap_weights` must be 2 weights"):
        make(taps=["decoder_1_1_conv", "output_conv"], tap_weights=[1.0])
