"""Under PyTorch, inference holds as few activations as the graph needs, and gives the same."""

import gc
import weakref

import keras
import numpy as np
import pytest

from anyvox_keras.backend import to_numpy
from anyvox_keras.networks import UNet

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="elsewhere a program frees its arrays itself"
)


def test_activations_are_let_go_after_their_last_reader():
    unet = UNet(width=2, levels=2, seed=0)
    volume = np.random.default_rng(0).random((1, 8, 8, 8, 1)).astype("float32")
    given, alive = [], {}

    def watch(layer):
        original = layer.call

        def call(*args, **kwargs):
            alive[layer.name] = sum(one() is not None for one in given)
            y = original(*args, **kwargs)
            given.append(weakref.ref(y))
            return y

        layer.call = call

    for layer in unet.layers[1:]:
        watch(layer)
    gc.disable()  # what a ring of references holds is held
    try:
        leanly = unet.predict_on_batch(volume)
    finally:
        gc.enable()
    # In the middle of the deepest level two skips wait; at the end none does.
    assert alive["bottleneck_2_conv"] <= 3
    assert alive["output_conv"] == 1
    # With a gradient to come, Keras's own way through the graph.
    np.testing.assert_array_equal(leanly, to_numpy(unet(volume)))
