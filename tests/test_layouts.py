"""Arrays of another layout are refused before the framework's own error, by the argument's name."""

import numpy as np
import pytest
from scipy import ndimage

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.ops import (
    affine_grid,
    average_pool,
    box_filter,
    correlate_axis,
    gaussian_filter,
    identity_grid,
    max_pool,
    median_filter,
    pad,
    resize,
    sample_linear,
    sample_nearest,
    warp,
)

RNG = np.random.default_rng(0)
LAST = RNG.random((1, 8, 9, 10, 1)).astype("float32")
REFUSED = {
    "channels first": np.moveaxis(LAST, -1, 1),
    "without channels": LAST[..., 0],
    "two channels": np.concatenate([LAST, LAST], -1),
    "complex": LAST.astype("complex64"),
}


@pytest.fixture(scope="module")
def unet():
    return avx.UNet(width=2, levels=1, output_channels=3, seed=0)


@pytest.mark.parametrize("kind", REFUSED)
def test_unet(unet, kind):
    reason = "must be real" if kind == "complex" else r"must be \(B, D, H, W, 1\), channels last"
    with pytest.raises(ValueError, match=f"^`inputs` {reason}. Received: [^\n]*$"):
        unet(REFUSED[kind])


@pytest.mark.parametrize("kind", [*REFUSED, "too large"])
def test_feature_extractor(unet, kind):
    array = {**REFUSED, "too large": np.full((8, 9, 10), 1e300)}[kind]
    with pytest.raises(ValueError, match=r"^`volume` must [^\n]*Received: [^\n]*$"):
        avx.FeatureExtractor(unet)(array)


def test_warp_of_images_that_are_none():
    still = np.zeros((1, 8, 9, 10, 3), "float32")
    with pytest.raises(ValueError, match=r"`x` must be \(B, D, H, W, C\)"):
        warp(LAST[..., 0], still)
    with pytest.raises(ValueError, match=r"of the same size\. Received: 2 and 1"):
        warp(np.concatenate([LAST, LAST]), still)
    with pytest.raises(ValueError, match="`method` must be one of linear, nearest"):
        warp(LAST, still, method="cubic")


def test_warp_of_doubles():
    x, u = LAST.astype("float64"), RNG.normal(0, 1, (1, 8, 9, 10, 3))
    grid = np.stack(np.meshgrid(*map(np.arange, (8, 9, 10)), indexing="ij"), -1)
    at = np.moveaxis(grid + u[0], -1, 0)
    expected = ndimage.map_coordinates(x[0, ..., 0], at, order=1, mode="nearest")
    found = to_numpy(warp(x, u, outside="edge"))
    np.testing.assert_allclose(found[0, ..., 0], expected, atol=1e-5)


STILL = identity_grid((8, 9, 10))[None]
WINGS = ((1, 1),) * 3
# what a function calls its array, whether label maps will do, and the call
VOLUMES = {
    "pad": ("x", True, lambda x: pad(x, WINGS)),
    "pad by zeros": ("x", True, lambda x: pad(x, WINGS, "zeros")),
    "resize": ("x", False, lambda x: resize(x, (4, 4, 4))),
    "resize labels": ("x", True, lambda x: resize(x, (4, 4, 4), "nearest")),
    "box": ("x", True, box_filter),
    "Gauss": ("x", False, lambda x: gaussian_filter(x, 1.0)),
    "correlate": ("x", False, lambda x: correlate_axis(x, np.ones(3, "float32"), 1)),
    "mean of blocks": ("x", False, average_pool),
    "largest of blocks": ("x", False, max_pool),
    "median": ("labels", True, median_filter),
    "linear": ("x", False, lambda x: sample_linear(x, STILL)),
    "nearest": ("x", True, lambda x: sample_nearest(x, STILL)),
}


@pytest.mark.parametrize(("name", "labels", "call"), VOLUMES.values(), ids=list(VOLUMES))
def test_stateless_functions_refuse_what_is_no_volume(name, labels, call):
    masked = np.ma.masked_less(LAST, 0.2)
    wrong = [LAST[0, ..., 0], LAST.astype("complex64"), LAST.astype(str), masked, LAST.tolist()]
    for x in wrong if labels else [*wrong, LAST[..., 0]]:
        with pytest.raises(ValueError, match=f"^`{name}` must [^\n]*Received: [^\n]*$"):
            call(x)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("pads", lambda: pad(LAST, WINGS[:2])),
        ("pads", lambda: pad(LAST, ((1.5, 1),) * 3)),
        ("shape", lambda: resize(LAST, (4, 4))),
        ("shape", lambda: resize(LAST, (0, 4, 4))),
        ("shape", lambda: resize(LAST, 4)),
        ("shape", lambda: identity_grid((4.5, 4, 4))),
        ("size", lambda: box_filter(LAST, 1.5)),
        ("size", lambda: average_pool(LAST, 0)),
        ("x", lambda: average_pool(LAST, 9)),
        ("sigma", lambda: gaussian_filter(LAST, float("nan"))),
        ("sigma", lambda: gaussian_filter(LAST, (1, 2))),
        ("coordinates", lambda: sample_linear(LAST, STILL[..., :2])),
        ("coordinates", lambda: sample_nearest(np.concatenate([LAST, LAST]), STILL)),
        ("matrix", lambda: affine_grid(np.eye(4), (4, 4, 4))),
    ],
)
def test_stateless_functions_refuse_other_arguments(name, call):
    with pytest.raises(ValueError, match=f"^`{name}` must [^\n]*Received: [^\n]*$"):
        call()


def test_integers_are_smoothed_as_floats():
    x = (100 * LAST).astype("int16")
    expected = ndimage.gaussian_filter(x[0, ..., 0].astype("float64"), 1.0)
    np.testing.assert_allclose(to_numpy(gaussian_filter(x, 1.0))[0, ..., 0], expected, atol=1e-3)
    blocks = x[0, :, :8, :, 0].reshape(4, 2, 4, 2, 5, 2).mean((1, 3, 5))
    np.testing.assert_allclose(to_numpy(average_pool(x))[0, ..., 0], blocks, atol=1e-3)
