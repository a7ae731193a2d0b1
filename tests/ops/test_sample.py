"""Sampling against scipy, eager and compiled."""

import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from anyvox_keras.backend import compiled, to_numpy, value_and_gradient
from anyvox_keras.ops import affine_grid, identity_grid, sample_linear, sample_nearest

SCIPY_MODE = {"zeros": "grid-constant", "edge": "nearest", "symmetric": "reflect"}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 9, 10, 11, 3)).astype("float32")
POINTS = RNG.uniform(-15, 25, size=(2, 5, 6, 7, 3)).astype("float32")


def by_scipy(x, points, order, outside):
    def one(i, c):
        where = np.moveaxis(points[i], -1, 0)
        return ndimage.map_coordinates(x[i, ..., c], where, order=order, mode=SCIPY_MODE[outside])

    channels = [[one(i, c) for c in range(x.shape[-1])] for i in range(x.shape[0])]
    return np.moveaxis(np.asarray(channels), 1, -1)


@pytest.mark.parametrize("outside", list(SCIPY_MODE))
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("wrap", [lambda f: f, compiled], ids=["eager", "compiled"])
def test_equals_scipy(outside, order, wrap):
    sampler = (sample_nearest, sample_linear)[order]
    run = wrap(lambda x, points: sampler(x, points, outside))
    actual = run(ops.convert_to_tensor(X), ops.convert_to_tensor(POINTS))
    np.testing.assert_allclose(to_numpy(actual), by_scipy(X, POINTS, order, outside), atol=5e-6)


def test_many_channels_and_their_gradient_are_those_of_few():
    """Values at any point, and the gradient by the points, as of three channels at a time."""
    many = RNG.normal(size=(2, 9, 10, 11, 12)).astype("float32")

    def in_parts(points, parts):
        return sum(ops.sum(ops.sin(sample_linear(part, points))) for part in parts)

    parts = [ops.convert_to_tensor(many[..., i : i + 3]) for i in range(0, 12, 3)]
    points = ops.convert_to_tensor(POINTS)
    at_once, apart = (
        value_and_gradient(lambda points, parts=parts: in_parts(points, parts))(points)
        for parts in ([ops.convert_to_tensor(many)], parts)
    )
    np.testing.assert_allclose(to_numpy(at_once[0]), to_numpy(apart[0]), rtol=1e-5)
    np.testing.assert_allclose(to_numpy(at_once[1]), to_numpy(apart[1]), atol=2e-4)
    found = to_numpy(sample_linear(ops.convert_to_tensor(many), points))
    np.testing.assert_allclose(found, by_scipy(many, POINTS, 1, "zeros"), atol=5e-6)


def test_a_point_that_is_no_number_gives_none():
    points = POINTS.copy()
    points[0, 0, 0, 0, 1] = np.nan
    many = np.repeat(X, 4, axis=-1)
    found = to_numpy(sample_linear(ops.convert_to_tensor(many), ops.convert_to_tensor(points)))
    assert np.isnan(found[0, 0, 0, 0]).all()
    assert np.isfinite(found[1:]).all()


def test_nearest_ties_go_up():
    x = np.arange(4, dtype="int32").reshape(1, 4, 1, 1)
    points = np.zeros((1, 3, 1, 1, 3), "float32")
    points[0, :, 0, 0, 0] = [0.5, 1.5, 2.5]
    labels = to_numpy(sample_nearest(ops.convert_to_tensor(x), ops.convert_to_tensor(points)))
    assert labels.ravel().tolist() == [1, 2, 3]
    assert labels.dtype == np.int32


def test_identity_is_exact():
    grid = ops.convert_to_tensor(np.broadcast_to(identity_grid(X.shape[1:4]), (2, 9, 10, 11, 3)))
    np.testing.assert_allclose(to_numpy(sample_linear(X, grid)), X, atol=1e-5)
    np.testing.assert_array_equal(to_numpy(sample_nearest(X, grid)), X)


def test_affine_grid_is_the_matrix_product():
    matrix = RNG.normal(size=(2, 3, 4)).astype("float32")
    grid = to_numpy(affine_grid(matrix, (4, 5, 6)))
    points = identity_grid((4, 5, 6))
    expected = (
        np.einsum("bij,dhwj->bdhwi", matrix[:, :, :3], points) + matrix[:, None, None, None, :, 3]
    )
    np.testing.assert_allclose(grid, expected, atol=1e-5)


def test_unknown_border_is_an_error():
    with pytest.raises(ValueError, match="`outside` must be one of zeros, edge, symmetric"):
        sample_linear(X, POINTS, outside="wrap")
