"""Resizing against scipy and torch."""

import numpy as np
import pytest
import torch
from keras import ops
from scipy import ndimage

from anyvox_keras.backend import compiled, to_numpy
from anyvox_keras.ops import resize, resize_displacement

X = np.random.default_rng(0).normal(size=(2, 6, 7, 9, 2)).astype("float32")
SHAPES = [(12, 14, 18), (4, 9, 3), (6, 20, 1)]


def by_torch(x, shape, **options):
    y = torch.nn.functional.interpolate(torch.tensor(x).permute(0, 4, 1, 2, 3), shape, **options)
    return y.permute(0, 2, 3, 4, 1).numpy()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("align", ["half_pixel", "corners"])
@pytest.mark.parametrize("wrap", [lambda f: f, compiled], ids=["eager", "compiled"])
def test_linear_equals_torch(shape, align, wrap):
    actual = wrap(lambda x: resize(x, shape, align=align))(ops.convert_to_tensor(X))
    expected = by_torch(X, shape, mode="trilinear", align_corners=align == "corners")
    np.testing.assert_allclose(to_numpy(actual), expected, atol=2e-6)


def test_linear_equals_scipy():
    zoomed = ndimage.zoom(X[0, ..., 0], 2, order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(to_numpy(resize(X, (12, 14, 18)))[0, ..., 0], zoomed, atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_nearest_equals_torch(shape):
    expected = by_torch(X, shape, mode="nearest")
    np.testing.assert_array_equal(to_numpy(resize(X, shape, "nearest")), expected)


def test_nearest_keeps_integer_labels():
    labels = np.random.default_rng(0).integers(0, 9, (1, 8, 8, 8)).astype("int32")
    small = to_numpy(resize(labels, (4, 4, 4), "nearest"))
    np.testing.assert_array_equal(small, labels[:, ::2, ::2, ::2])


def test_displacement_is_rescaled_to_the_new_voxels():
    u = np.ones((1, 4, 4, 4, 3), "float32")
    fine = to_numpy(resize_displacement(ops.convert_to_tensor(u), (8, 4, 2)))
    np.testing.assert_allclose(fine[0, 0, 0, 0], [2, 1, 0.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"method": "cubic"}, "`method` must be"), ({"align": "left"}, "`align` must be")],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        resize(X, (4, 4, 4), **options)
