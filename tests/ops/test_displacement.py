"""Displacement algebra: physics, scipy and SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk
from keras import ops
from scipy import ndimage

from anyvox_keras.backend import compiled, to_numpy, value_and_gradient
from anyvox_keras.ops import (
    compose,
    gaussian_filter,
    integrate_velocity,
    inverse_points,
    invert_displacement,
    jacobian_determinant,
    warp,
)

SHAPE = (16, 18, 20)
RNG = np.random.default_rng(1)


def smooth_field(amplitude, seed=0):
    noise = np.random.default_rng(seed).normal(size=(1, *SHAPE, 3)).astype("float32")
    field = to_numpy(gaussian_filter(noise, 3.0))
    return ops.convert_to_tensor(field * (amplitude / np.abs(field).max()))


def interior(x, margin=5):
    cut = slice(margin, -margin)
    return to_numpy(x)[:, cut, cut, cut]


@pytest.mark.parametrize("wrap", [lambda f: f, compiled], ids=["eager", "compiled"])
def test_warp_equals_scipy(wrap):
    x = RNG.normal(size=(1, *SHAPE, 1)).astype("float32")
    u = smooth_field(4.0)
    points = np.indices(SHAPE) + np.moveaxis(to_numpy(u)[0], -1, 0)
    expected = ndimage.map_coordinates(x[0, ..., 0], points, order=1, mode="grid-constant")
    actual = wrap(lambda x, u: warp(x, u))(ops.convert_to_tensor(x), u)
    np.testing.assert_allclose(to_numpy(actual)[0, ..., 0], expected, atol=2e-5)


def test_nearest_warp_keeps_integers():
    labels = RNG.integers(0, 5, (1, *SHAPE)).astype("int32")
    moved = to_numpy(warp(ops.convert_to_tensor(labels), smooth_field(3.0), "nearest", "edge"))
    assert moved.dtype == np.int32
    assert set(np.unique(moved)) <= set(range(5))


def test_compose_is_warping_twice():
    ramp = np.moveaxis(np.indices(SHAPE), 0, -1)[None].astype("float32")
    first, second = smooth_field(2.0, 1), smooth_field(2.0, 2)
    twice = warp(warp(ops.convert_to_tensor(ramp), first), second)
    once = warp(ops.convert_to_tensor(ramp), compose(first, second))
    # Linear interpolation of a linear ramp is exact, up to interpolating `first` itself.
    np.testing.assert_allclose(interior(twice), interior(once), atol=1e-4)


def test_constant_velocity_is_a_translation():
    v = np.broadcast_to(np.asarray([0.5, -1.0, 2.0], "float32"), (1, *SHAPE, 3))
    np.testing.assert_allclose(to_numpy(integrate_velocity(ops.convert_to_tensor(v))), v, atol=1e-5)


def test_linear_velocity_integrates_to_the_exponential():
    # v(x) = a (x - c) flows to (e^a - 1)(x - c).
    rate, centre = 0.2, 8.0
    v = (np.moveaxis(np.indices(SHAPE), 0, -1)[None] - centre).astype("float32") * rate
    u = to_numpy(integrate_velocity(ops.convert_to_tensor(v), steps=8))[0, 6:11, 6:11, 6:11]
    expected = (v / rate * np.expm1(rate))[0, 6:11, 6:11, 6:11]
    np.testing.assert_allclose(u, expected, atol=2e-3)


def test_inverse_composes_to_identity():
    u = smooth_field(2.5)
    v = invert_displacement(u)
    assert np.abs(interior(compose(u, v))).max() < 1e-3
    back = integrate_velocity(-u)
    forth = integrate_velocity(u)
    assert np.abs(interior(compose(forth, back))).max() < 0.05


def test_inverse_of_a_strong_stretch():
    """Full steps would run away: the displacement changes faster than the position."""
    x = np.moveaxis(np.indices((17,) * 3), 0, -1)[None].astype("float32")
    u = 1.5 * (x - 8)
    found = to_numpy(inverse_points(u, x))
    np.testing.assert_allclose(found, 8 + (x - 8) / 2.5, atol=1e-3)
    np.testing.assert_allclose(to_numpy(invert_displacement(u)), found - x, atol=1e-5)


def test_jacobian_equals_simpleitk():
    u = to_numpy(smooth_field(6.0))[0]
    # ITK's vectors and axes run x, y, z: the reverse of ours.
    image = sitk.GetImageFromArray(np.ascontiguousarray(u[..., ::-1]).astype("float64"), True)
    expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image))
    actual = to_numpy(jacobian_determinant(u[None]))
    np.testing.assert_allclose(interior(actual, 1)[0], expected[1:-1, 1:-1, 1:-1], atol=1e-4)


def test_gradients_equal_finite_differences():
    x = RNG.normal(size=(1, *SHAPE, 1)).astype("float32")
    x = gaussian_filter(ops.convert_to_tensor(x), 1.0)
    u, direction = smooth_field(1.3), smooth_field(1.0, 7)
    probe = ops.convert_to_tensor(RNG.normal(size=(1, *SHAPE, 1)).astype("float32"))

    def value(u):
        return ops.sum(warp(x, u, outside="edge") * probe)

    _, gradient = value_and_gradient(value)(u)
    slope = float(ops.sum(gradient * direction))
    step = 2e-3
    finite = float(value(u + step * direction) - value(u - step * direction)) / (2 * step)
    assert slope == pytest.approx(finite, rel=0.05)


def test_wrong_shapes_are_errors():
    with pytest.raises(ValueError, match=r"`displacement` must be \(B, D, H, W, 3\)"):
        warp(np.zeros((1, 4, 4, 4, 1)), np.zeros((1, 4, 4, 4, 2)))
    with pytest.raises(ValueError, match="`method` must be one of linear, nearest"):
        warp(np.zeros((1, 4, 4, 4, 1)), np.zeros((1, 4, 4, 4, 3)), method="cubic")
    with pytest.raises(ValueError, match="at least 2 voxels"):
        jacobian_determinant(np.zeros((1, 1, 4, 4, 3), "float32"))
