"""Any Keras model trains on the stream."""

import keras
import numpy as np
import pytest

import anyvox_keras as avx

SIDE = 16
BANK = avx.TemplateBank.geometric(count=20, side=SIDE)
LABELS = {"count": (3, 6), "foreground": 0.0}


def small_stream(**options):
    labels = avx.LabelEnsemble(SIDE, **LABELS)
    return avx.SyntheticStream(BANK, side=SIDE, labels=labels, **{"steps": 40, **options})


def plain_unet(classes: int) -> keras.Model:
    """A user's own network, made of Keras's layers alone."""
    layers = keras.layers
    x = inputs = keras.Input((SIDE, SIDE, SIDE, 1))
    x = skip = layers.Conv3D(8, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling3D(2)(x)
    x = layers.Conv3D(16, 3, padding="same", activation="relu")(x)
    x = layers.UpSampling3D(2)(x)
    x = layers.Concatenate()([skip, x])
    x = layers.Conv3D(8, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, layers.Conv3D(classes, 1)(x))


def test_a_plain_segmentation_unet_learns():
    stream = small_stream(batch_size=2)
    trainer = avx.WithSynthesis(plain_unet(stream.classes), stream)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer.compile(keras.optimizers.Adam(1e-2), loss, metrics=["sparse_categorical_accuracy"])
    fixed = small_stream(split="validation", fixed=True, steps=8)
    before = trainer.evaluate(fixed, verbose=0, return_dict=True)
    trainer.fit(stream, verbose=0)
    after = trainer.evaluate(fixed, verbose=0, return_dict=True)
    assert after["loss"] < 0.8 * before["loss"]
    assert after["sparse_categorical_accuracy"] > before["sparse_categorical_accuracy"]


def test_views_as_targets():
    stream = small_stream(steps=2)
    model = keras.Sequential([keras.layers.Conv3D(1, 3, padding="same")])
    trainer = avx.WithSynthesis(model, stream, x="view1", y="view2")
    trainer.compile("sgd", "mse")
    assert np.isfinite(trainer.fit(stream, verbose=0).history["loss"]).all()


def test_save_and_load(tmp_path):
    stream = small_stream(device_budget=0)
    trainer = avx.WithSynthesis(plain_unet(stream.classes), stream)
    batch = stream[0][0]
    before = trainer.predict_on_batch(batch)
    trainer.save(tmp_path / "trainer.keras")
    after = keras.saving.load_model(tmp_path / "trainer.keras").predict_on_batch(batch)
    np.testing.assert_array_equal(before["target"], after["target"])
    np.testing.assert_allclose(before["prediction"], after["prediction"], atol=1e-6)


def test_unknown_entries_are_errors():
    stream = small_stream()
    with pytest.raises(ValueError, match="`x` must be one of label_map, view1, view2"):
        avx.WithSynthesis(keras.Sequential([keras.layers.Conv3D(1, 1)]), stream, x="image")
