"""Batch normalisation in training, whatever its policy."""

import numpy as np
import pytest
from keras import ops

from anyvox_keras.backend import to_numpy, value_and_gradient
from anyvox_keras.networks.normalization import BatchNorm


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "float16", "bfloat16", "float64"])
def test_any_policy_normalises_and_has_the_gradient_of_the_formula(rng, policy):
    x = rng.normal(2, 3, (2, 4, 3, 5, 2))
    weights = rng.normal(size=x.shape)
    layer = BatchNorm(epsilon=1e-2, dtype=policy)
    layer.build(x.shape)

    def loss(x):
        y = ops.cast(layer(ops.cast(x, layer.compute_dtype), training=True), "float32")
        return ops.sum(y * ops.convert_to_tensor(weights, "float32"))

    value, gradient = value_and_gradient(loss)(ops.convert_to_tensor(x, "float32"))

    def expected(x):
        axes = dict(axis=(0, 1, 2, 3))
        return ((x - x.mean(**axes)) / np.sqrt(x.var(**axes) + 1e-2) * weights).sum()

    loose = 2e-2 if "16" in policy else 1e-4
    np.testing.assert_allclose(float(value), expected(x), rtol=loose, atol=20 * loose)
    direction = rng.normal(size=x.shape)
    slope = (expected(x + 1e-5 * direction) - expected(x - 1e-5 * direction)) / 2e-5
    found = (to_numpy(gradient) * direction).sum()
    np.testing.assert_allclose(found, slope, rtol=loose, atol=20 * loose)
    count = np.prod(x.shape[:-1])
    moving = 0.9 + 0.1 * x.var((0, 1, 2, 3)) * count / (count - 1)
    variance = to_numpy(ops.cast(layer.moving_variance, "float32"))
    np.testing.assert_allclose(variance, moving, rtol=loose)
