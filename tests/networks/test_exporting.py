"""Exported networks give the same numbers as those they were made of."""

import keras
import numpy as np
import pytest

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.networks import UNet, ViT, export_network
from anyvox_keras.segmentation import Segmenter
from anyvox_keras.voxelmorph import VoxelMorph

torch = pytest.importorskip("torch")
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="SavedModel")


def small():
    return UNet(width=2, levels=1, output_channels=3, normalization="instance", seed=0)


def volume(*sides, batch=1):
    return np.random.default_rng(0).normal(size=(batch, *sides, 1)).astype("float32")


# The same programs whatever backend the weights come from: one traces them.
@pytest.mark.skipif(keras.backend.backend() != "torch", reason="made by torch alone")
def test_torch_programs_and_onnx_take_any_size(tmp_path):
    ort = pytest.importorskip("onnxruntime")
    network = Segmenter(small(), 1)
    export_network(network, tmp_path / "network.onnx")
    run = ort.InferenceSession(tmp_path / "network.onnx")
    export_network(network, tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    for x in (volume(8, 8, 12), volume(5, 9, 4, batch=3)):
        expected = to_numpy(network.predict_on_batch(x))
        np.testing.assert_allclose(run.run(None, {"volumes": x})[0], expected, atol=1e-4)
        np.testing.assert_allclose(program(torch.from_numpy(x)).detach(), expected, atol=1e-4)


@tensorflow_only
def test_a_saved_model_gives_the_same_numbers(tmp_path):
    import tensorflow as tf

    unet = small()
    export_network(unet, tmp_path / "unet")
    served = tf.saved_model.load(tmp_path / "unet")
    for x in (volume(8, 8, 12), volume(5, 9, 4, batch=2)):
        expected = unet.predict_on_batch(x)
        np.testing.assert_allclose(served.serve(x), expected, atol=1e-4)
    voxelmorph = VoxelMorph(encoder=(2, 2), decoder=(2, 2, 2), steps=2, seed=0)
    export_network(voxelmorph, tmp_path / "voxelmorph", sides=(8, 8, 12))
    served = tf.saved_model.load(tmp_path / "voxelmorph")
    pair = {"fixed": volume(8, 8, 12), "moving": volume(8, 8, 12)[:, ::-1].copy()}
    expected = voxelmorph.register_both(**pair)
    for name, array in served.serve(pair).items():
        np.testing.assert_allclose(array, expected[name], atol=1e-4, err_msg=name)


def test_what_cannot_be_is_said_in_a_line(tmp_path):
    vit = ViT(side=8, channels=6, depth=1, heads=1, width=2, output_channels=2)
    with pytest.raises(UserError, match=r"v\.onnx: \.onnx holds a UNet or a Segmenter.*a ViT|ViT"):
        export_network(vit, tmp_path / "v.onnx")
    with pytest.raises(UserError, match="a Segmenter of a UNet, received one of a ViT"):
        export_network(Segmenter(vit, 1), tmp_path / "s.pt2")
    if keras.backend.backend() != "tensorflow":
        with pytest.raises(UserError, match="a SavedModel needs KERAS_BACKEND=tensorflow"):
            export_network(small(), tmp_path / "unet")
