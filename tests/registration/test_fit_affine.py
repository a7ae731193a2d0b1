import numpy as np
import pytest

from anyvox_keras.registration import fit_affine

ROTATION = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def _pairs(rng, linear, count=200):
    points = rng.normal(size=(count, 3)) * 20 + 100
    return points, points @ linear.T + [3.0, -4.0, 5.0]


@pytest.mark.parametrize("model", ["rigid", "affine"])
def test_third_of_wrong_pairs_is_ignored(rng, model):
    points, targets = _pairs(rng, ROTATION)
    targets[:60] += rng.normal(size=(60, 3)) * 50
    matrix = fit_affine(points, targets, model=model, trims=15)
    np.testing.assert_allclose(matrix[:3, :3], ROTATION, atol=1e-6)
    np.testing.assert_allclose(matrix[:3, 3], [3, -4, 5], atol=1e-4)


def test_affine_finds_scale_and_shear_rigid_stays_rigid(rng):
    linear = np.array([[1.2, 0.1, 0], [0, 0.9, 0.2], [0, 0, 1.1]])
    points, targets = _pairs(rng, linear)
    np.testing.assert_allclose(fit_affine(points, targets)[:3, :3], linear, atol=1e-8)
    rigid = fit_affine(points, targets, model="rigid")[:3, :3]
    np.testing.assert_allclose(rigid @ rigid.T, np.eye(3), atol=1e-10)
    assert np.linalg.det(rigid) > 0


def test_weightless_points_do_not_count(rng):
    points, targets = _pairs(rng, ROTATION)
    targets[:50] = 0
    weights = np.ones(200)
    weights[:50] = 0
    matrix = fit_affine(points, targets, weights, trims=0)
    np.testing.assert_allclose(matrix[:3, :3], ROTATION, atol=1e-8)


def test_refuses_unknown_models_and_too_few_points(rng):
    points = rng.normal(size=(5, 3))
    with pytest.raises(ValueError, match="model"):
        fit_affine(points, points, model="similarity")
    with pytest.raises(ValueError, match="4 points"):
        fit_affine(points, points, np.zeros(5))
