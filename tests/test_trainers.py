"""What Keras's own tools do to the package's trainers: equal histories, or a refusal at once."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from fake_stream import FakeStream

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.voxelmorph import ScanPairs, VoxelMorphTrainer

SIDE = 16
TORCH = keras.backend.backend() == "torch"


def fake_stream():
    return FakeStream(side=8, steps=2)


def drawn_stream():
    labels = avx.LabelEnsemble(SIDE, count=(2, 3), foreground=0.0)
    views = avx.PairedViews(avx.Appearance(spike=None, gibbs=None, resolution=None, bias=None))
    bank = avx.TemplateBank.geometric(4, side=SIDE)
    return avx.SyntheticStream(bank, SIDE, labels=labels, views=views, steps=2)


def pretrainer(**options):
    network = avx.UNet(width=2, levels=1, output_channels=2, seed=0)
    model = avx.ContrastivePretrainer(network, samples=16, width=4, augmentation=None)
    model.compile(keras.optimizers.SGD(0.1), **options)
    return model, fake_stream()


def voxelmorph(**options):
    network = avx.VoxelMorph(
        encoder=(2,), decoder=(2, 2), steps=1, flow_stride=2, conventions="0.2", seed=0
    )
    # Its own pairs, deformed in the graph, take minutes to compile; scans do not.
    model = VoxelMorphTrainer(network, {"image": keras.losses.MeanSquaredError()})
    model.compile(keras.optimizers.SGD(0.1), **options)
    images = list(np.random.default_rng(0).random((3, 8, 8, 8, 1)).astype("float32"))
    return model, ScanPairs(images, steps=2)


def segmenter(**options):
    keras.utils.set_random_seed(0)
    model = avx.Segmenter(avx.UNet(width=2, levels=1, output_channels=2, seed=0), 2)
    model.compile(keras.optimizers.SGD(0.1), **options)
    image = np.random.default_rng(0).random((2, 8, 8, 8, 1)).astype("float32")
    return model, (image, (3 * image[..., 0]).astype("int32"))


def with_synthesis(**options):
    keras.utils.set_random_seed(0)
    stream = drawn_stream()
    x = keras.Input((None, None, None, 1))
    y = keras.layers.Conv3D(stream.classes, 1)(x)
    model = avx.WithSynthesis(keras.Model(x, y), stream)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, **options)
    return model, stream


TRAINERS = [pretrainer, voxelmorph, segmenter, with_synthesis]
ON_STREAMS = [pretrainer, with_synthesis]


def losses(model, data, epochs=2, **options):
    if isinstance(data, tuple):
        options |= {"y": data[1], "batch_size": 1, "shuffle": False}
        data = data[0]
    return model.fit(data, epochs=epochs, verbose=0, **options).history["loss"]


class Killed(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("make", TRAINERS, ids=lambda make: make.__name__)
def test_a_backup_and_a_checkpoint_go_on_as_if_nothing_had_happened(make, tmp_path):
    model, data = make()
    expected = losses(model, data)
    assert expected[0] != expected[1]
    model, data = make()
    keep = keras.callbacks.ModelCheckpoint(tmp_path / "whole.keras")
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        losses(model, data, callbacks=[keep, backup, Killed()])
    # `fit` had moved the stream on to the second epoch, as the whole model's owner sees it.
    loaded = avx.load_model(tmp_path / "whole.keras")
    assert losses(loaded, data, epochs=1) == pytest.approx(expected[1:], rel=1e-5)
    model, data = make()
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    assert losses(model, data, callbacks=[backup]) == pytest.approx(expected[1:], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("make", [pretrainer, with_synthesis], ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    "options",
    [{"run_eagerly": True}, {"steps_per_execution": 2}],
    ids=lambda options: next(iter(options)),
)
def test_how_a_step_is_run_does_not_matter(make, options):
    if TORCH and "steps_per_execution" in options:
        with pytest.raises(ValueError, match="`steps_per_execution` must be 1"):
            make(**options)
        return
    assert losses(*make(**options)) == pytest.approx(losses(*make()), rel=1e-4)


@pytest.mark.parametrize("make", TRAINERS, ids=lambda make: make.__name__)
def test_what_would_be_passed_over_is_refused(make):
    model, data = make()
    with pytest.raises(ValueError, match="`class_weight` must be None"):
        losses(model, data, class_weight={0: 1.0, 1: 2.0})
    if make in (pretrainer, voxelmorph):
        with pytest.raises(ValueError, match="`sample_weight` must be None"):
            losses(model, data, sample_weight=np.ones(2))
    if TORCH:
        with pytest.raises(ValueError, match="`jit_compile` must not be True"):
            make(jit_compile=True)


@pytest.mark.parametrize("make", ON_STREAMS, ids=lambda make: make.__name__)
def test_a_stream_of_another_bank_is_no_validation_set(make):
    model, data = make()
    other = make()[1]
    with pytest.raises(ValueError, match="`validation_data` must be drawn by the layer of `x`"):
        model.fit(data, validation_data=other, verbose=0)


def test_samples_are_weighed_each_by_its_own_loss():
    """A sample of weight 0 changes nothing, whatever it holds."""
    model, (image, label_map) = segmenter()
    weights = np.array([1.0, 0.0])
    found = [
        model.evaluate(image, labels, sample_weight=weights, verbose=0, return_dict=True)["loss"]
        for labels in (label_map, np.stack([label_map[0], 0 * label_map[1]]))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


@pytest.mark.parametrize("part", ["all", "decoder", "head"])
def test_a_segmenter_leaves_the_given_network_alone(part):
    network = avx.UNet(width=2, levels=1, output_channels=2, seed=0)
    network.get_layer("stem_conv").trainable = False
    before = ([layer.trainable for layer in network.layers], network.get_weights())
    model = avx.Segmenter(network, 2, train=part)
    model.compile(keras.optimizers.SGD(1.0))
    losses(model, segmenter()[1], epochs=1)
    assert [layer.trainable for layer in network.layers] == before[0]
    for a, b in zip(network.get_weights(), before[1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_any_functional_model_pretrains():
    x = keras.Input((None, None, None, 1))
    fine = keras.layers.Conv3D(4, 3, padding="same", activation="relu", name="fine")(x)
    coarse = keras.layers.Conv3D(8, 3, strides=2, padding="same", name="coarse")(fine)
    up = keras.layers.UpSampling3D(2)(coarse)
    model = keras.Model(x, keras.layers.Conv3D(4, 1, name="out")(up))
    trainer = avx.ContrastivePretrainer(
        model, taps=["fine", "coarse", "out"], samples=32, width=4, augmentation=None
    )
    trainer.compile(keras.optimizers.SGD(0.1))
    before = [np.copy(w) for w in model.get_weights()]
    history = trainer.fit(fake_stream(), verbose=0).history
    assert {"loss_fine", "loss_coarse", "loss_out"} <= set(history)
    assert np.isfinite(history["loss"]).all()
    # It is the given model that learns, up to where its features are read.
    for old, new in zip(before, model.weights, strict=True):
        assert (old != to_numpy(new)).any() or "bias" in new.path
    again = avx.ContrastivePretrainer.from_config(trainer.get_config())
    assert again.taps == ["fine", "coarse", "out"]
    assert avx.ContrastivePretrainer(model).taps == ["output"]


@pytest.mark.parametrize(
    ("taps", "reason"),
    [(["absent"], "`taps` must name layers of the backbone"), (["flat"], "layers of volumes")],
)
def test_taps_that_are_none_are_refused(taps, reason):
    x = keras.Input((8, 8, 8, 1))
    y = keras.layers.Conv3D(2, 1, name="volume")(x)
    flat = keras.layers.Flatten(name="flat")(y)
    model = keras.Model(x, keras.layers.Reshape((8, 8, 8, 2))(flat))
    with pytest.raises(ValueError, match=reason):
        avx.ContrastivePretrainer(model, taps=taps)


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="PyTorch has a process for each device"
)
def test_two_devices_learn_what_one_does_from_the_same_pairs():
    """So do four that share the channels, too; each layout reads the others' checkpoint.

    Under TensorFlow Keras shows the model means of integer keys, and adds the gradients.
    """
    program = Path(__file__).with_name("strategy_fits.py")
    ran = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    expected = 3 if keras.backend.backend() == "tensorflow" else 1
    assert ran.stdout.count("alike") == expected, ran.stderr[-2000:]
