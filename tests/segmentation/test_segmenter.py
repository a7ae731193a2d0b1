"""The model: shapes, saving, freezing, rates, one step of fit."""

import keras
import numpy as np
import pytest

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.segmentation import LayerRates


def segmenter(**options):
    backbone = avx.UNet(width=2, levels=1, output_channels=4, seed=0)
    return avx.Segmenter(backbone, classes=2, **options)


@pytest.fixture
def pair(rng):
    image = rng.random((2, 8, 9, 10, 1)).astype("float32")
    return image, (3 * image[..., 0]).astype("int32")


def test_a_saved_segmenter_predicts_the_same(pair, tmp_path):
    model = segmenter(train="decoder", seed=3)
    model.compile(LayerRates(1e-3, backbone_rate=0.5))
    model.fit(*pair, verbose=0)
    before = to_numpy(model.predict_on_batch(pair[0]))
    assert before.shape == (*pair[0].shape[:4], 3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(loaded.predict_on_batch(pair[0])), before, atol=1e-6)
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    history = loaded.fit(*pair, verbose=0).history
    assert {"loss", "dice", "dice_1", "dice_2"} <= set(history)


@pytest.mark.parametrize(
    ("part", "trained"),
    [("all", {"stem", "encoder", "bottleneck", "decoder", "output"}), ("head", set()),
     ("decoder", {"decoder", "output"}), (1, {"output"})],
)  # fmt: skip
def test_only_the_chosen_part_moves(pair, part, trained):
    model = segmenter(train=part)
    model.compile(LayerRates(1e-2))
    before = {layer.name: [to_numpy(w).copy() for w in layer.weights] for layer in _layers(model)}
    model.fit(*pair, verbose=0)
    moved = {
        layer.name.split("_")[0]
        for layer in _layers(model)
        for old, new in zip(before[layer.name], layer.weights, strict=True)
        if not np.array_equal(old, to_numpy(new))
    }
    # Moving statistics of a frozen batch norm stay too.
    assert moved == trained | {"segmentation"}


def _layers(model):
    return [*(layer for layer in model.backbone.layers if layer.weights), model.head]


def test_the_backbone_moves_at_its_share_of_the_rate(rng):
    """Adam's first step is the rate against the sign of the gradient, whatever its size."""
    names = ("stem_conv/kernel", "segmentation_head/kernel", "segmentation_head/bias")
    variables = [keras.Variable(np.zeros(5, "float32"), name=n.replace("/", "_")) for n in names]
    gradients = [rng.normal(size=5).astype("float32") for _ in names]
    optimizer = LayerRates(1e-3, backbone_rate=0.1, epsilon=1e-12)
    optimizer.build(variables)
    optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
    for variable, gradient, share in zip(variables, gradients, (0.1, 1, 1), strict=True):
        expected = -1e-3 * share * np.sign(gradient)
        np.testing.assert_allclose(to_numpy(variable), expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"train": "most"}, "`train` must be"), ({"train": -1}, "`train` must be")],
)
def test_bad_arguments_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        segmenter(**options)
    with pytest.raises(ValueError, match="`classes` must be >= 1"):
        avx.Segmenter(avx.UNet(width=2, levels=1), classes=0)
