"""The gradient of instance normalisation, which is written out by hand."""

import gc

import keras
import numpy as np
from keras import ops

from anyvox_keras.backend import peak_memory_mb, to_numpy, value_and_gradient
from anyvox_keras.networks.normalization import InstanceNorm


def test_the_gradient_is_that_of_the_formula(rng):
    x = rng.normal(2, 3, (2, 6, 5, 7, 3))
    weights = rng.normal(size=x.shape)
    layer = InstanceNorm(epsilon=1e-2)
    factors = ops.convert_to_tensor(weights, "float32")
    loss = value_and_gradient(lambda x: ops.sum(layer(x) * factors))
    value, gradient = loss(ops.convert_to_tensor(x, "float32"))

    space = dict(axis=(1, 2, 3), keepdims=True)

    def expected(x):
        return ((x - x.mean(**space)) / np.sqrt(x.var(**space) + 1e-2) * weights).sum()

    np.testing.assert_allclose(float(value), expected(x), rtol=1e-5)
    direction = rng.normal(size=x.shape)
    slope = (expected(x + 1e-5 * direction) - expected(x - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose((to_numpy(gradient) * direction).sum(), slope, rtol=1e-4)


def test_narrow_volumes_have_float32_statistics(rng):
    x = ops.convert_to_tensor(rng.normal(9, 3, (2, 16, 16, 16, 3)).astype("float32"), "bfloat16")
    slopes = ops.convert_to_tensor(rng.normal(size=x.shape).astype("float32"), "bfloat16")
    found = []
    for dtype in ("bfloat16", "float32"):
        layer, factors = InstanceNorm(dtype=dtype), ops.cast(slopes, "float32")

        def loss(x, layer=layer, factors=factors):
            return ops.sum(ops.cast(layer(x), "float32") * factors)

        y, (_, slope) = layer(x), value_and_gradient(loss)(ops.cast(x, dtype))
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        found.append([to_numpy(ops.cast(array, "float32")) for array in (y, slope)])
    for narrow, wide in zip(*found, strict=True):
        np.testing.assert_allclose(narrow, wide, rtol=2**-7, atol=2**-6)


def test_training_steps_keep_nothing(rng):
    """A gradient whose closure held its output would keep volumes until Python's collector ran."""
    layers = [keras.layers.Dense(8), InstanceNorm(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((32, 32, 32, 1)), *layers])
    model.compile("sgd", "mse")
    x = rng.normal(size=(1, 32, 32, 32, 1)).astype("float32")
    y = np.zeros((1, 32, 32, 32, 1), "float32")
    for _ in range(5):
        model.train_on_batch(x, y)
    before = peak_memory_mb()
    gc.disable()
    try:
        for _ in range(100):
            model.train_on_batch(x, y)
    finally:
        gc.enable()
    # each step's volume is 1 MB, and three or more of them would stay
    assert peak_memory_mb() - before < 50
