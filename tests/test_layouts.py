"""Arrays of another layout are refused before the framework's own error, by the argument's name."""

import numpy as np
import pytest
from scipy import ndimage

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.ops import warp

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
