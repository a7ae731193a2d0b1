"""Padding, filters, pooling and the median against numpy, scipy and torch."""

import numpy as np
import pytest
import torch
from keras import ops
from scipy import ndimage

from anyvox_keras.backend import compiled, conv3d, fft3, ifft3, to_numpy
from anyvox_keras.ops import (
    average_pool,
    box_filter,
    correlate_axis,
    gaussian_filter,
    max_pool,
    median_filter,
    pad,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 9, 10, 11, 2)).astype("float32")
both = pytest.mark.parametrize("wrap", [lambda f: f, compiled], ids=["eager", "compiled"])
SCIPY_MODE = {"reflect": "mirror", "symmetric": "reflect", "edge": "nearest", "zeros": "constant"}


@pytest.mark.parametrize("mode", list(SCIPY_MODE))
@both
def test_pad_equals_numpy(mode, wrap):
    pads = ((2, 0), (0, 3), (1, 12))
    numpy_mode = "constant" if mode == "zeros" else mode
    expected = np.pad(X, ((0, 0), *pads, (0, 0)), numpy_mode)
    actual = wrap(lambda x: pad(x, pads, mode))(ops.convert_to_tensor(X))
    np.testing.assert_array_equal(to_numpy(actual), expected)


def test_pad_errors():
    with pytest.raises(ValueError, match="`mode` must be one of"):
        pad(X, ((1, 1),) * 3, "wrap")
    with pytest.raises(ValueError, match="`pads` must be >= 0"):
        pad(X, ((-1, 1),) * 3)


@pytest.mark.parametrize("mode", list(SCIPY_MODE))
@pytest.mark.parametrize("sigma", [0.7, (0.0, 1.0, 2.0)])
def test_gaussian_equals_scipy(mode, sigma):
    actual = to_numpy(gaussian_filter(ops.convert_to_tensor(X), sigma, mode=mode))
    expected = ndimage.gaussian_filter(X[1, ..., 0], sigma, mode=SCIPY_MODE[mode])
    np.testing.assert_allclose(actual[1, ..., 0], expected, atol=2e-6)


@pytest.mark.parametrize("mode", ["zeros", "edge", "symmetric"])
@both
def test_box_equals_scipy(mode, wrap):
    for size in (3, 5):
        actual = to_numpy(wrap(lambda x, n=size: box_filter(x, n, mode))(ops.convert_to_tensor(X)))
        expected = ndimage.uniform_filter(X[0, ..., 1], size, mode=SCIPY_MODE[mode])
        np.testing.assert_allclose(actual[0, ..., 1], expected, atol=2e-6)


def test_box_has_a_middle():
    with pytest.raises(ValueError, match="odd"):
        box_filter(X, 2)


def test_weights_may_differ_between_samples():
    weights = RNG.normal(size=(2, 5)).astype("float32")
    actual = to_numpy(correlate_axis(ops.convert_to_tensor(X), weights, 2))
    expected = ndimage.correlate1d(X[1], weights[1], axis=1, mode="constant")
    np.testing.assert_allclose(actual[1], expected, atol=5e-6)
    with pytest.raises(ValueError, match="must be odd"):
        correlate_axis(X, np.ones(4), 1)


@pytest.mark.parametrize("size", [2, 3])
def test_pooling_equals_torch(size):
    x = torch.tensor(X).permute(0, 4, 1, 2, 3)
    mean = torch.nn.functional.avg_pool3d(x, size).permute(0, 2, 3, 4, 1)
    largest = torch.nn.functional.max_pool3d(x, size).permute(0, 2, 3, 4, 1)
    tensor = ops.convert_to_tensor(X)
    np.testing.assert_allclose(to_numpy(average_pool(tensor, size)), mean.numpy(), atol=1e-6)
    np.testing.assert_array_equal(to_numpy(max_pool(tensor, size)), largest.numpy())


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
@pytest.mark.parametrize("labels", [2, 5, 200])
@both
def test_median_equals_scipy(dtype, labels, wrap):
    x = RNG.integers(0, labels, (2, 8, 9, 3)).astype(dtype)
    actual = to_numpy(wrap(median_filter)(ops.convert_to_tensor(x)))
    expected = np.stack([ndimage.median_filter(v, size=3, mode="nearest") for v in x])
    assert actual.dtype == x.dtype
    np.testing.assert_array_equal(actual, expected)


@both
def test_convolution_equals_torch(wrap):
    kernel = RNG.normal(size=(3, 3, 3, 2, 4)).astype("float32")
    expected = torch.nn.functional.conv3d(
        torch.tensor(X).permute(0, 4, 1, 2, 3), torch.tensor(kernel).permute(4, 3, 0, 1, 2)
    )
    actual = wrap(lambda x, k: conv3d(x, k))(*map(ops.convert_to_tensor, (X, kernel)))
    expected = expected.permute(0, 2, 3, 4, 1).numpy()
    np.testing.assert_allclose(to_numpy(actual), expected, atol=5e-5)


@both
def test_fourier_equals_numpy(wrap):
    x = X[..., 0]
    real, imag = wrap(fft3)(ops.convert_to_tensor(x))
    expected = np.fft.fftn(x.astype("float64"), axes=(1, 2, 3))
    np.testing.assert_allclose(to_numpy(real) + 1j * to_numpy(imag), expected, atol=1e-3)
    back, rest = wrap(ifft3)(real, imag)
    np.testing.assert_allclose(to_numpy(back), x, atol=1e-5)
    np.testing.assert_allclose(to_numpy(rest), 0, atol=1e-5)
