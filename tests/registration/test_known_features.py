"""What lies outside a mask neither pulls nor repels."""

import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter

from anyvox_keras.backend import to_numpy
from anyvox_keras.registration import (
    AdamSettings,
    DeformSettings,
    FeatureSettings,
    Level,
    cost_volume,
    coupled_convex,
    coupled_convex_by_slabs,
    deform,
    known_features,
    register,
)
from anyvox_keras.registration.pair_inputs import Placed

SETTINGS = DeformSettings(
    levels=(Level(2, 1),),
    dilations=(2, 1),
    adam=AdamSettings(iterations=4, smoothness=2.0, distance="cosine", correlation=1.0),
)
MIND = FeatureSettings("mind")


def _pair(rng):
    """A texture and its negative, one voxel further along the first axis."""
    base = gaussian_filter(rng.normal(size=(18, 16, 16)), 1.2).astype("float32")
    return base[1:-1], 1 - base[:-2]


def _box(start, stop, shape=(16, 16, 16)):
    mask = np.zeros(shape, bool)
    mask[start:stop, start:stop, start:stop] = True
    return mask


def test_cost_is_the_mean_over_what_both_know(rng):
    fixed, moving = rng.random((2, 6, 5, 6, 2)).astype("float32")
    here, there = (rng.random((2, 6, 5, 6, 1)) > 0.3).astype("float32")
    ours = to_numpy(cost_volume(fixed[None], moving[None], 1, weights=(here[None], there[None])))
    # no displacement: the middle of the window
    known = here[..., 0] * there[..., 0]
    square = ((fixed - moving) ** 2).sum(-1)
    twice = [known * square, known, here[..., 0], np.ones_like(known)]
    for _ in range(2):
        twice = [uniform_filter(x, 3, mode="constant") for x in twice]
    share = np.maximum(here[..., 0] * twice[3], twice[2])
    mean = share * twice[0] / np.maximum(twice[1], 1e-6)
    rich = twice[1] > 0.6 * twice[2]
    assert rich.sum() > 20
    np.testing.assert_allclose(ours[0, ..., 13][rich], mean[rich], rtol=0.05)


def test_weights_of_one_change_nothing(rng):
    fixed, moving = rng.random((2, 1, 8, 6, 6, 3)).astype("float32")
    ones = np.ones((1, 8, 6, 6, 1), "float32")
    found = [
        to_numpy(deform(fixed, moving, (16, 12, 12), (1, 1, 1), SETTINGS, weights=weights))
        for weights in (None, (ones, ones))
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_slabs_equal_the_whole_with_weights(rng):
    fixed, moving = rng.random((2, 1, 7, 4, 4, 2)).astype("float32")
    weights = tuple((rng.random((2, 1, 7, 4, 4, 1)) > 0.4).astype("float32"))
    whole = coupled_convex(cost_volume(fixed, moving, 1, weights=weights), weight=weights[0])
    slabs = coupled_convex_by_slabs(fixed, moving, 1, 3, weights=weights)
    np.testing.assert_allclose(to_numpy(slabs), to_numpy(whole), atol=1e-4)


def test_unknown_follows_its_surroundings():
    """Half of a grid knows a shift by one; the other half knows nothing, and goes along."""
    cost = np.ones((1, 8, 5, 5, 27), "float32")
    cost[..., 22] = 0  # (1, 0, 0) of the window
    weight = np.ones((1, 8, 5, 5, 1), "float32")
    weight[:, 4:] = 0
    found = to_numpy(coupled_convex(cost * weight, weight=weight))[0, ..., 0]
    assert found[1:4, 1:-1, 1:-1].min() > 0.9
    assert found[4:7, 2, 2].min() > 0.8


def test_what_lies_far_outside_masks_changes_nothing(rng):
    fixed, moving = _pair(rng)
    masks = {"fixed_mask": _box(5, 11), "moving_mask": _box(5, 11)}
    other = np.where(_box(1, 15), fixed, rng.random(fixed.shape)).astype("float32")
    found = [
        register(image, moving, **masks, features="mind", settings=SETTINGS).displacement
        for image in (fixed, other)
    ]
    inside = _box(5, 11)
    assert np.abs(found[0][inside] - found[1][inside]).max() < 0.05


def test_one_mask_is_widened_but_its_holes_stay(rng):
    image = rng.random((24, 24, 24)).astype("float32")
    mask = _box(8, 16, image.shape)
    mask[10:12, 10:12, 10:12] = False
    images = [Placed(image, mask, None), Placed(image, None, None)]
    weights = known_features(images, (True, False), (None, None), MIND).weights
    wide = to_numpy(weights[0])[0, ..., 0]
    assert wide[2:4, 6, 6].min() == 1  # from voxel 4 on
    assert wide[:2].max() == 0
    assert wide[5, 5, 5] == 0
    images[1] = Placed(image, _box(6, 18, image.shape), None)
    weights = known_features(images, (True, True), (None, None), MIND).weights
    tight = to_numpy(weights[0])[0, ..., 0]
    assert tight[:4].max() == 0
    assert tight.sum() == mask.sum() / 8
    images[1] = images[0]
    weights = known_features(images, (True, True), (None, None), MIND).weights
    np.testing.assert_array_equal(to_numpy(weights[1])[0, ..., 0], wide)


def test_says_where_masks_can_hardly_be_meant(rng):
    fixed, moving = _pair(rng)
    options = {"features": "mind", "settings": SETTINGS}
    with pytest.warns(UserWarning, match="share no voxel"):
        register(fixed, moving, fixed_mask=_box(1, 6), moving_mask=_box(10, 15), **options)
    with pytest.warns(UserWarning, match="27 voxels are few"):
        found = register(fixed, moving, fixed_mask=_box(6, 9), **options).displacement
    assert np.isfinite(found).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        register(fixed, moving, fixed_mask=_box(3, 12), **options)
