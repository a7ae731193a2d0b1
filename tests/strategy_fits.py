"""Fits on one device and on several, compared; run as a program: a CPU is split once.

Two devices share the pairs; with JAX four share the pairs by two and the kernels' channels by two.
"""

import contextlib
import itertools
import tempfile

import keras
import numpy as np
import pytest
from fake_stream import FakeStream
from keras import ops

import anyvox_keras as avx
from anyvox_keras.backend import on_devices
from anyvox_keras.training.checkpoint import load_state, save_state
from anyvox_keras.voxelmorph import ScanPairs, VoxelMorphTrainer


class EachTwice(FakeStream):
    """A step's pairs are one pair, so that batch statistics do not depend on how they are split."""

    def batch(self, samples):
        return {"keys": np.repeat(super().batch(samples[:1])["keys"], len(samples), axis=0)}


def pretrainer(stream):
    network = avx.UNet(width=2, levels=1, output_channels=2, seed=0)
    model = avx.ContrastivePretrainer(
        network, samples=16, width=4, augmentation=None, voxel_weight=0.5
    )
    model.compile(keras.optimizers.SGD(0.003))  # larger steps make much of a rounding
    return model


def voxelmorph(stream):
    network = avx.VoxelMorph(encoder=(2,), decoder=(2, 2), steps=1, flow_stride=2, seed=0)
    model = VoxelMorphTrainer(network, {"image": keras.losses.MeanSquaredError()})
    model.compile(keras.optimizers.SGD(1.0))
    return model


def with_synthesis(stream):
    keras.utils.set_random_seed(0)
    x = keras.Input((None, None, None, 1))
    model = avx.WithSynthesis(keras.Model(x, keras.layers.Conv3D(stream.classes, 1)(x)), stream)
    model.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def streams():
    yield pretrainer, EachTwice(side=8, batch_size=2, steps=2)
    images = list(np.random.default_rng(0).random((3, 8, 8, 8, 1)).astype("float32"))
    yield voxelmorph, ScanPairs(images, batch_size=2, steps=2)
    labels = avx.LabelEnsemble(16, count=(2, 3), foreground=0.0)
    views = avx.PairedViews(avx.Appearance(spike=None, gibbs=None, resolution=None, bias=None))
    bank = avx.TemplateBank.geometric(4, side=16)
    yield (
        with_synthesis,
        avx.SyntheticStream(bank, 16, labels=labels, views=views, batch_size=2, steps=2),
    )


def fitted(make, stream, scope):
    """History, and what training added to the weights."""
    stream.seek(0)
    with scope:
        model = make(stream)
    start = [ops.convert_to_numpy(weight) for weight in model.trainable_variables]
    history = model.fit(stream, epochs=2, verbose=0).history
    assert stream.position == 8, stream.position
    if isinstance(model, avx.ContrastivePretrainer):  # each layout reads the other's checkpoint
        with tempfile.TemporaryDirectory() as folder:
            save_state(f"{folder}/state", model, {"step": 4})
            load_state(f"{folder}/state", other := make(stream))
        for ours, theirs in zip(model.own_variables, other.own_variables, strict=True):
            np.testing.assert_array_equal(
                ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), err_msg=ours.path
            )
    end = [ops.convert_to_numpy(weight) for weight in model.trainable_variables]
    return history, np.concatenate([(b - a).ravel() for a, b in zip(start, end, strict=True)])


def strategy():
    """What shares a step among two devices, as a context to build and fit in."""
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_num_cpu_devices", 4)
        return lambda: on_devices(2)
    import tensorflow as tf

    with on_devices(2):
        mirrored = tf.distribute.get_strategy()  # a second one would share its keys
    assert mirrored.num_replicas_in_sync == 2
    return mirrored.scope


def wide():
    """A step's pairs by two, and each convolution's channels by two."""
    mesh = keras.distribution.DeviceMesh((2, 2), ("pairs", "channels"))
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*conv/kernel"] = (None, None, None, None, "channels")
    layout[".*conv/bias"] = ("channels",)
    return keras.distribution.ModelParallel(
        layout_map=layout, batch_dim_name="pairs", auto_shard_dataset=False
    ).scope()


def assert_alike(one, other):
    (history, added), (again, change) = one, other
    for name in history:
        np.testing.assert_allclose(again[name], history[name], rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(change, added, atol=0.02 * np.abs(added).max())


if __name__ == "__main__":
    together = strategy()
    in_jax = keras.backend.backend() == "jax"
    for make, stream in itertools.islice(streams(), 1 if in_jax else None):
        one = fitted(make, stream, contextlib.nullcontext())
        assert_alike(one, fitted(make, stream, together()))
        if in_jax:
            assert_alike(one, fitted(make, stream, wide()))
        stream.batch_size = 1
        with together():
            model = make(stream)
            with pytest.raises(ValueError, match="must be a multiple of the 2 devices"):
                model.fit(stream, verbose=0)
        print(make.__name__, "alike")
