"""Each effect against MONAI with the same injected parameters."""

import monai.transforms as mt
import numpy as np
import pytest
import torch
from battery import check_layer
from synthesis.halves import applied, drawn

from anyvox_keras.random import keys_for
from anyvox_keras.synthesis.appearance import (
    BiasField,
    GammaContrast,
    GaussianBlur,
    GaussianMixture,
    GaussianNoise,
    GibbsRinging,
    KSpaceSpike,
    LowResolution,
    Sharpen,
    Texture,
)

SHAPE = (12, 14, 16)
ON = np.array([True, True])
EFFECTS = [
    (Texture, {}),
    (BiasField, {}),
    (BiasField, {"basis": "power", "coefficients": (-0.5, 0.5)}),
    (GammaContrast, {}),
    (GaussianBlur, {"sigma": (0, 1.2)}),
    (GaussianNoise, {}),
    (GibbsRinging, {"alpha": (0.2, 0.5)}),
    (KSpaceSpike, {}),
    (LowResolution, {}),
    (Sharpen, {}),
]


@pytest.fixture
def images(rng):
    return rng.random((2, *SHAPE, 1), dtype="float32")


@pytest.mark.parametrize(("cls", "config"), EFFECTS, ids=lambda x: getattr(x, "__name__", ""))
def test_battery(cls, config):
    rng = np.random.default_rng(0)
    x = rng.random((2, 8, 8, 8, 1), dtype="float32")
    # A power below 1 is steep near the darkest voxel; its slope there stays finite.
    check_layer(cls, {"probability": 0.9, **config}, x, keys_for(0, range(2)), atol=1e-4)


def test_mixture_battery(rng):
    labels = rng.integers(0, 5, (2, 8, 8, 8)).astype("int32")
    y = check_layer(GaussianMixture, {}, labels, keys_for(0, range(2)), differentiable=False)
    assert y.shape == (2, 8, 8, 8, 1)


@pytest.mark.parametrize(("cls", "config"), EFFECTS, ids=lambda x: getattr(x, "__name__", ""))
def test_probability_zero_is_identity_and_channels_share_draws(cls, config, images):
    layer = cls(**config, probability=0.0)
    params = drawn(layer, keys_for(0, range(2)), SHAPE)
    np.testing.assert_array_equal(applied(layer, images, params), images)
    if cls is GaussianNoise:  # white over channels
        return
    params["active"] = ON
    double = applied(layer, np.concatenate([images, images], axis=-1), params)
    single = applied(layer, images, params)
    for channel in range(2):
        np.testing.assert_allclose(double[..., channel], single[..., 0], rtol=1e-4, atol=1e-4)


def _monai(transform, image):
    """Run a MONAI transform on one channel."""
    return np.asarray(transform(torch.from_numpy(image[None, ..., 0]), randomize=False))[0]


def test_bias_field_equals_monai(images):
    layer = BiasField(coefficients=(-0.3, 0.3))
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    y = applied(layer, images, params)
    for sample in range(2):
        oracle = mt.RandBiasField(prob=1.0)
        oracle._do_transform = True
        oracle._coeff = params["coefficients"][sample].tolist()
        np.testing.assert_allclose(y[sample, ..., 0], _monai(oracle, images[sample]), rtol=1e-5)


def test_gamma_equals_monai(images):
    layer = GammaContrast((0.3, 3))
    x = 7 * images - 2
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    y = applied(layer, x, params)
    for sample, gamma in enumerate(params["gamma"]):
        expected = mt.AdjustContrast(float(gamma))(torch.from_numpy(x[sample, ..., 0]))
        np.testing.assert_allclose(y[sample, ..., 0], np.asarray(expected), atol=1e-4)


@pytest.mark.parametrize("sigma", [(0.0, 0.333), (0.4, 3.0)])
def test_blur_equals_monai(images, sigma):
    layer = GaussianBlur(sigma)
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    y = applied(layer, images, params)
    for sample, stds in enumerate(params["sigma"]):
        oracle = mt.GaussianSmooth([float(std) for std in stds])
        expected = np.asarray(oracle(torch.from_numpy(images[sample, ..., 0])[None]))[0]
        np.testing.assert_allclose(y[sample, ..., 0], expected, atol=1e-5)


def test_sharpen_equals_monai(images):
    layer = Sharpen()
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    y = applied(layer, images, params)
    for sample in range(2):
        first, second = ([float(s) for s in params[f"sigma{i}"][sample]] for i in (1, 2))
        oracle = mt.GaussianSharpen(first, second, float(params["alpha"][sample]))
        expected = np.asarray(oracle(torch.from_numpy(images[sample, ..., 0])[None]))[0]
        np.testing.assert_allclose(y[sample, ..., 0], expected, atol=1e-3)
    assert (params["sigma2"] <= params["sigma1"]).all()


@pytest.mark.parametrize("shape", [SHAPE, (9, 13, 11)])
def test_gibbs_equals_monai(shape, rng):
    images = rng.random((2, *shape, 1), dtype="float32")
    layer = GibbsRinging((0.1, 0.6))
    params = drawn(layer, keys_for(1, range(2)), shape)
    y = applied(layer, images, params)
    for sample, alpha in enumerate(params["alpha"]):
        oracle = mt.GibbsNoise(float(alpha))
        expected = np.asarray(oracle(torch.from_numpy(images[sample, ..., 0])[None]))[0]
        np.testing.assert_allclose(y[sample, ..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [SHAPE, (9, 13, 11)])
def test_spike_equals_monai(shape, rng):
    images = rng.random((2, *shape, 1), dtype="float32")
    layer = KSpaceSpike()
    params = drawn(layer, keys_for(1, range(2)), shape)
    y = applied(layer, images, params)
    for sample in range(2):
        image = torch.from_numpy(images[sample, ..., 0])[None]
        k = torch.fft.fftn(image, dim=(1, 2, 3))
        level = 2.5 * torch.log(k.abs() + 1e-10).mean() * float(params["intensity"][sample])
        position = tuple(int(i) for i in params["position"][sample])
        oracle = mt.KSpaceSpikeNoise(position, float(level))
        expected = np.asarray(oracle(image))[0]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(y[sample, ..., 0] / scale, expected / scale, atol=1e-4)


def test_spike_on_an_empty_bin_has_phase_zero():
    layer = KSpaceSpike(1.0)
    flat = np.ones((2, 8, 8, 8, 1), "float32")
    params = drawn(layer, keys_for(1, range(2)), (8, 8, 8))
    assert np.isfinite(applied(layer, flat, params)).all()


def _low_resolution(images, zooms, mode):
    expected = []
    for image, zoom in zip(images, zooms, strict=True):
        oracle = mt.RandSimulateLowResolution(prob=1.0, downsample_mode=mode)
        oracle._do_transform, oracle.zoom_factor = True, float(zoom)
        expected.append(_monai(oracle, image))
    return np.stack(expected)[..., None]


def test_low_resolution_equals_monai_with_exact_nearest(images):
    layer = LowResolution((0.5, 1.0))
    params = drawn(layer, keys_for(4, range(2)), SHAPE)
    y = applied(layer, images, params)
    np.testing.assert_allclose(
        y, _low_resolution(images, params["zoom"], "nearest-exact"), atol=1e-5
    )


def test_monai_default_low_resolution_shifts_the_image():
    """The defect that the corrected law leaves out: content moves towards the origin."""
    ramp = np.broadcast_to(np.arange(16, dtype="float32"), (1, 16, 16, 16))[..., None]
    zoom = np.array([0.5], "float32")
    layer = LowResolution(0.5)
    ours = applied(layer, ramp, {"active": ON[:1], "zoom": zoom})
    inner = (0, 8, 8, slice(3, -3), 0)
    shift = (_low_resolution(ramp, zoom, "nearest") - ramp)[inner].mean()
    assert shift < -0.4
    # Two fine voxels are equally near to a coarse centre; the upper one is taken.
    assert abs((ours - ramp)[inner].mean() - 0.5) < 1e-5


def test_texture_is_any_side_and_follows_its_nodes(rng):
    layer = Texture(std=(4, 5))
    params = drawn(layer, keys_for(0, range(2)), (10, 11, 13))
    y = applied(layer, np.ones((2, 10, 11, 13, 1), "float32"), params)
    assert y.std() > 0.02
    constant = {k: np.full_like(v, 2.0) for k, v in params.items() if k != "active"}
    y = applied(layer, np.ones((2, 10, 11, 13, 1), "float32"), {"active": ON, **constant})
    np.testing.assert_allclose(y, 1 + 0.02 * 2 * 4, rtol=1e-5)


def test_mixture_statistics(rng):
    labels = np.repeat(np.arange(1, 5), 16 * 16 * 4).reshape(1, 16, 16, 16).astype("int32")
    layer = GaussianMixture(empty_background=0.0)
    params = drawn(layer, keys_for(0, [0]), (16, 16, 16))
    y = applied(layer, labels, params)[0, ..., 0]
    image = np.maximum(
        params["mean"][0][labels[0]] + params["std"][0][labels[0]] * params["noise"][0], 0
    )
    expected = (image - image.min()) / (image.max() - image.min())
    np.testing.assert_allclose(y, expected, atol=1e-5)
    empty = applied(layer, labels, {**params, "empty": np.array([True])})[0, ..., 0]
    assert (empty[labels[0] == 1] == 0).all()  # the smallest label present, not label 0
    assert empty[labels[0] == 2].mean() > 0


def test_noise_has_the_drawn_std():
    layer = GaussianNoise((0.1, 0.3))
    shape = (24, 24, 24)
    params = drawn(layer, keys_for(0, range(2)), shape)
    y = applied(layer, np.zeros((2, *shape, 1), "float32"), params)
    np.testing.assert_allclose(y.std(axis=(1, 2, 3, 4)), params["std"], rtol=0.03)


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (BiasField, {"order": 0}, "`order` must be >= 1"),
        (BiasField, {"basis": "sine"}, "`basis` must be one of"),
        (GammaContrast, {"gamma": 0.0}, "`gamma` must be >="),
        (GibbsRinging, {"alpha": (0, 2)}, "`alpha` must be in"),
        (LowResolution, {"zoom": (0.5, 2)}, "`zoom` must be in"),
        (GaussianBlur, {"probability": 2}, "`probability` must be in"),
        (Texture, {"scales": (0,)}, "`scales` must be > 0"),
        (GaussianMixture, {"labels": 0}, "`labels` must be >= 1"),
    ],
)
def test_mistakes(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(**arguments)
