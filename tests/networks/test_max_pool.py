"""Halving and doubling of sides, against numpy."""

import numpy as np
import pytest
from keras import ops

from anyvox_keras.backend import double, max_pool, to_numpy
from anyvox_keras.networks.layers import AveragePool, MaxPool, UpSample


@pytest.mark.parametrize("sides", [(6, 4, 8), (5, 4, 7)])
def test_pooling_takes_the_largest_of_eight(sides, rng):
    x = rng.normal(size=(2, *sides, 3)).astype("float32")
    d, h, w = (side // 2 for side in sides)
    whole = x[:, : 2 * d, : 2 * h, : 2 * w]
    expected = whole.reshape(2, d, 2, h, 2, w, 2, 3).max((2, 4, 6))
    np.testing.assert_array_equal(to_numpy(max_pool(ops.convert_to_tensor(x))), expected)
    layer = MaxPool()
    np.testing.assert_array_equal(to_numpy(layer(x)), expected)
    assert layer.compute_output_shape((None, *sides, 3)) == (None, d, h, w, 3)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_averages_are_taken_in_float32_whatever_the_policy(policy, rng):
    x = rng.normal(size=(2, 5, 4, 6, 3)).astype("float32")
    layer = AveragePool((2, 1, 2), dtype=policy)
    narrow = ops.cast(x, layer.compute_dtype)
    whole = to_numpy(ops.cast(narrow, "float32"))[:, :4]
    expected = ops.cast(whole.reshape(2, 2, 2, 4, 3, 2, 3).mean((2, 5)), layer.compute_dtype)
    found = layer(narrow)
    assert layer.compute_output_shape((None, 5, 4, 6, 3)) == (None, 2, 4, 3, 3)
    error = to_numpy(ops.cast(found, "float32")) - to_numpy(ops.cast(expected, "float32"))
    assert np.abs(error).max() <= {"float32": 1e-6, "mixed_float16": 1e-3}.get(policy, 8e-3)


def test_slices_may_be_left_alone(rng):
    x = rng.normal(size=(1, 4, 3, 6, 2)).astype("float32")
    pooled = to_numpy(MaxPool(strides=(2, 1, 2))(x))
    np.testing.assert_array_equal(pooled, x.reshape(1, 2, 2, 3, 3, 2, 2).max((2, 5)))
    for method in ("nearest", "trilinear"):
        up = UpSample(method, strides=(2, 1, 2))
        doubled = to_numpy(up(pooled))
        assert doubled.shape == x.shape == up.compute_output_shape(pooled.shape)
        # Alike in every slice, as slice by slice.
        one = to_numpy(up(pooled[:, :, :1]))
        np.testing.assert_allclose(doubled[:, :, :1], one, atol=1e-6)
    with pytest.raises(ValueError, match="three of 1 and 2"):
        MaxPool(strides=(2, 3, 1))


def test_doubling_repeats_each_voxel(rng):
    x = rng.normal(size=(2, 3, 4, 5, 2)).astype("float32")
    expected = x.repeat(2, 1).repeat(2, 2).repeat(2, 3)
    np.testing.assert_array_equal(to_numpy(double(ops.convert_to_tensor(x))), expected)
