"""The contract of layers that draw."""

import keras
import numpy as np
from battery import check_layer
from keras import ops

from anyvox_keras.backend import to_numpy
from anyvox_keras.export import export
from anyvox_keras.random import RandomLayer, keys_for, normal


@export
class AddNoise(RandomLayer):
    """The smallest random layer: adds unit noise."""

    def sample(self, keys, shape):
        return {"noise": normal(keys, (*shape, 1))}

    def apply(self, x, params):
        return x + params["noise"]


@export
class AugmentNoise(AddNoise):
    """The same as an augmenter."""

    augments = True


X = np.zeros((2, 6, 5, 4, 1), "float32")


def test_battery():
    y = check_layer(AddNoise, {"seed": 4}, X, keys_for(1, range(2)))
    assert y.std() > 0.5


def test_own_counter_advances_and_is_saved():
    layer, again = AddNoise(seed=1), AddNoise(seed=1)
    first, second = to_numpy(layer(X)), to_numpy(layer(X))
    assert not np.isclose(first, second).any()
    np.testing.assert_array_equal(first, to_numpy(again(X)))
    assert int(layer.counter) == 4
    resumed = AddNoise(seed=1)
    resumed.set_weights(again.get_weights())
    np.testing.assert_array_equal(second, to_numpy(resumed(X)))


def test_noise_differs_every_step_inside_fit():
    model = keras.Sequential([AddNoise(), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((2, 1)), epochs=3, batch_size=1, verbose=0)
    assert int(model.layers[0].counter) >= 6


def test_augmenters_are_the_identity_in_inference():
    layer = AugmentNoise()
    np.testing.assert_array_equal(to_numpy(layer(X)), X)
    assert to_numpy(layer(X, training=True)).std() > 0.5


def test_params_can_be_replayed():
    layer = AddNoise()
    params = layer.sample(keys_for(0, range(2)), X.shape[1:4])
    a, b = (layer.apply(ops.convert_to_tensor(x), params) for x in (X, X + 1))
    np.testing.assert_allclose(to_numpy(b) - to_numpy(a), 1, atol=1e-6)
