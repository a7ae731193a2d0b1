"""Train-time augmentation: what is shared, what is not, and TorchIO's meaning of it."""

import numpy as np
import pytest
import torch
import torchio as tio
from battery import check_layer
from scipy.spatial.transform import Rotation
from synthesis.halves import applied, drawn

from anyvox_keras.backend import to_numpy
from anyvox_keras.random import keys_for
from anyvox_keras.synthesis.augmentation import (
    RandomCrop,
    SpatialAugmentation,
    TrainTimeAugmentation,
    percentile_rescale,
)

pytestmark = pytest.mark.slow

SHAPE = (12, 12, 12)
KEYS = keys_for(0, range(2))


@pytest.fixture
def pair(rng):
    views = {name: rng.random((2, *SHAPE, 1), dtype="float32") for name in ("view1", "view2")}
    return {"label_map": rng.integers(0, 5, (2, *SHAPE)).astype("int32"), **views}


@pytest.mark.parametrize(
    ("cls", "config"),
    [(SpatialAugmentation, {"affine": 1.0}), (RandomCrop, {"side": 6})],
)
def test_battery_of_shared_steps(cls, config, pair):
    check_layer(cls, config, pair, KEYS, differentiable=False, atol=1e-3)


def test_battery_of_the_whole(pair):
    check_layer(TrainTimeAugmentation, {}, pair, KEYS, differentiable=False, atol=2e-3)


def test_inference_only_scales_images(pair):
    y = TrainTimeAugmentation()(pair, keys=KEYS, training=False)
    np.testing.assert_array_equal(to_numpy(y["label_map"]), pair["label_map"])
    for name in ("view1", "view2"):
        low, high = np.percentile(pair[name], (0, 99.99), axis=(1, 2, 3, 4), keepdims=True)
        expected = (pair[name] - low) / (high - low)
        np.testing.assert_allclose(to_numpy(y[name]), expected, rtol=1e-4, atol=1e-6)


def test_percentile_is_numpys(rng):
    x = rng.standard_normal((2, 24, 24, 24, 1)).astype("float32")
    for percentile in (99.99, 99.0, 100.0):
        y = to_numpy(percentile_rescale(x, percentile))
        high = np.percentile(x, percentile, axis=(1, 2, 3, 4), keepdims=True)
        low = x.min(axis=(1, 2, 3, 4), keepdims=True)
        np.testing.assert_allclose(y, (x - low) / (high - low), rtol=1e-4, atol=1e-5)
    assert y.max() <= 1
    with pytest.raises(ValueError, match="`percentile` must be in"):
        percentile_rescale(x, 20)


def test_volumes_move_together(rng):
    labels = (rng.random((2, *SHAPE)) > 0.5).astype("int32")
    layer = SpatialAugmentation(flip=1.0, affine=0.0)
    pair = {"label_map": labels, "view1": labels[..., None].astype("float32")}
    y = applied(layer, pair, drawn(layer, KEYS, SHAPE))
    np.testing.assert_array_equal(y["view1"][..., 0], y["label_map"])
    assert not np.array_equal(y["label_map"], labels)


def test_affine_equals_torchio(rng):
    """Wherever the point asked for is on the grid: ITK clamps within half a voxel outside it."""
    image = rng.random((1, *SHAPE, 1), dtype="float32")
    labels = rng.integers(0, 4, (1, *SHAPE)).astype("int32")
    layer = SpatialAugmentation(flip=0.0, affine=1.0)
    for seed in range(3):
        params = drawn(layer, keys_for(seed, [0]), SHAPE)
        y = applied(layer, {"view1": image, "label_map": labels}, params)
        oracle = tio.Affine(
            params["scale"][0].tolist(), params["degrees"][0].tolist(), (0, 0, 0),
            default_pad_value="minimum",
        )  # fmt: skip
        subject = tio.Subject(
            image=tio.ScalarImage(tensor=torch.from_numpy(image[..., 0])),
            labels=tio.LabelMap(tensor=torch.from_numpy(labels)),
        )
        expected = oracle(subject)
        on_grid = _asked_for(params)
        difference = np.abs(y["view1"][0, ..., 0] - expected["image"].numpy()[0])
        assert difference[on_grid].max() < 1e-4
        wrong = y["label_map"][0] != expected["labels"].numpy()[0]
        assert wrong[on_grid].mean() < 0.01


def _asked_for(params):
    """Voxels whose source lies on the grid, from angles and scales by scipy."""
    x, y, z = params["degrees"][0]
    rotation = Rotation.from_euler("ZXY", [z, x, y], degrees=True).as_matrix()
    grid = np.stack(np.meshgrid(*[np.arange(12.0) - 5.5] * 3, indexing="ij"), axis=-1)
    source = (grid / params["scale"][0]) @ rotation + 5.5
    return ((source >= 0) & (source <= 11)).all(-1)


def test_outside_is_the_minimum_and_label_zero(pair):
    layer = SpatialAugmentation(flip=0.0, affine=1.0, scale=0.6, degrees=0.0)
    pair = {**pair, "view1": pair["view1"] + 3, "label_map": pair["label_map"] + 1}
    y = applied(layer, pair, drawn(layer, KEYS, SHAPE))
    np.testing.assert_allclose(y["view1"][:, 0], pair["view1"].min((1, 2, 3, 4)).reshape(2, 1, 1, 1)
                               * np.ones((2, 12, 12, 1)), rtol=1e-6)  # fmt: skip
    assert (y["label_map"][:, 0] == 0).all()


def test_crop_is_the_same_window(pair):
    layer = RandomCrop(5)
    params = drawn(layer, KEYS, SHAPE)
    y = applied(layer, pair, params)
    for sample, corner in enumerate(params["corner"]):
        window = tuple(slice(int(c), int(c) + 5) for c in corner)
        for name, volume in pair.items():
            np.testing.assert_array_equal(y[name][sample], volume[sample][window])
    with pytest.raises(ValueError, match="at least 20 voxels"):
        RandomCrop(20).sample(KEYS, SHAPE)


def test_views_draw_alone_and_settings_reach_them(pair):
    layer = TrainTimeAugmentation(spatial=None, motion=None, noise={"probability": 1.0}, crop=8)
    params = drawn(layer, KEYS, SHAPE)
    assert set(params) == {"crop", "view1", "view2"}
    assert set(params["view1"]) == {"blur", "noise", "bias", "gamma"}
    assert (params["view1"]["noise"]["std"] != params["view2"]["noise"]["std"]).all()
    assert "GaussianNoise" in layer.describe()
    y = applied(layer, pair, params)
    assert y["view1"].shape == (2, 8, 8, 8, 1)
    middle = layer(pair, keys=KEYS, training=False)
    axes = (1, 2, 3, 4)
    low = pair["view1"].min(axes, keepdims=True)
    high = np.percentile(pair["view1"], 99.99, axis=axes, keepdims=True)
    mapped = ((pair["view1"] - low) / (high - low))[:, 2:10, 2:10, 2:10]
    np.testing.assert_allclose(to_numpy(middle["view1"]), mapped, atol=1e-5)
