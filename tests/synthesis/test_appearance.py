"""The pipeline: order, settings, views."""

import keras
import numpy as np
import pytest
from battery import check_layer
from synthesis.halves import applied, drawn

import anyvox_keras as avx
from anyvox_keras.backend import compiled, to_numpy
from anyvox_keras.random import fold_in, keys_for
from anyvox_keras.synthesis.appearance import rescale

SHAPE = (16, 16, 16)


@pytest.fixture
def labels(rng):
    return rng.integers(0, 6, (2, *SHAPE)).astype("int32")


def test_battery_of_views(labels):
    # A spike's level is an exponential: differences of rounding grow with it.
    config = {"appearance": avx.Appearance(spike=None)}
    views = check_layer(
        avx.PairedViews, config, labels, keys_for(0, range(2)), differentiable=False, atol=1e-3
    )
    for view in views:
        assert view.shape == (2, *SHAPE, 1)
        np.testing.assert_allclose(view.min(axis=(1, 2, 3, 4)), 0)
        np.testing.assert_allclose(view.max(axis=(1, 2, 3, 4)), 1, rtol=1e-6)


def test_order_of_the_table():
    steps = list(avx.Appearance().steps())
    table = "mixture texture bias spike contrast blur gibbs sharpen resolution"
    assert steps == table.split()
    probabilities = [layer.probability for layer in list(avx.Appearance().steps().values())[1:]]
    assert probabilities == [1.0, 0.98, 0.2, 0.5, 0.5, 0.5, 0.25, 0.333]


def test_settings_reach_their_effects():
    appearance = avx.Appearance(
        mixture={"mean": (0, 100)}, texture=None, bias={"coefficients": 0.1}, spike=None, noise={}
    )
    steps = appearance.steps()
    assert "texture" not in steps
    assert "spike" not in steps
    assert steps["mixture"].mean.pair == (0, 100)
    assert steps["bias"].coefficients.pair == (0.1, 0.1)
    assert steps["bias"].probability == 0.98
    assert "noise" in steps
    text = appearance.describe()
    assert "BiasField" in text
    assert "U(0, 100)" in text
    assert "0.98" in text


def test_unknown_effect():
    with pytest.raises((TypeError, ValueError), match="sparkle"):
        avx.Appearance(sparkle={})


def test_label_maps_are_integers():
    with pytest.raises(ValueError, match="label maps must be integers"):
        avx.PairedViews()(np.ones((1, *SHAPE), "float32"), keys=keys_for(0, [0]))


def test_config_round_trip():
    views = avx.PairedViews(avx.Appearance(blur={"sigma": (0.0, 2.0)}, spike=None), seed=3)
    again = avx.PairedViews.from_config(views.get_config())
    assert again.get_config() == views.get_config()
    assert again.appearance.steps()["blur"].sigma.high == 2
    assert "spike" not in again.appearance.steps()
    keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(views))


def test_views_are_two_independent_draws(labels):
    views, keys = avx.PairedViews(), keys_for(1, range(2))
    first, second = (to_numpy(view) for view in compiled(views.draw)(labels, keys))
    for name, view in (("view1", first), ("view2", second)):
        alone = views.appearance
        params = drawn(alone, to_numpy(fold_in(keys, name)), SHAPE)
        np.testing.assert_allclose(applied(alone, labels, params), view, atol=1e-4)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.9
    params = drawn(views, keys, SHAPE)
    for together, view in zip(applied(views, labels, params), (first, second), strict=True):
        np.testing.assert_allclose(together, view, atol=1e-4)


def test_rescale_of_a_constant_is_zero():
    flat = np.full((1, 4, 4, 4, 1), 3.0, "float32")
    np.testing.assert_array_equal(to_numpy(rescale(flat)), 0)
