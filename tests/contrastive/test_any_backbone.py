"""Networks of others: every Keras model can be pretrained and used."""

import keras
import numpy as np
import pytest
from fake_stream import FakeStream
from keras import ops
from own_networks import Written, plain_unet
from scipy import ndimage

from anyvox_keras.backend import no_gradient, to_numpy
from anyvox_keras.contrastive import ContrastivePretrainer
from anyvox_keras.contrastive.taps import LayerOutputs, with_taps
from anyvox_keras.contrastive.voxel_sampling import draw_voxels
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.networks.presets import load_network
from anyvox_keras.registration.register import register
from anyvox_keras.segmentation import Segmenter

CHEAP = {"samples": 64, "width": 16, "augmentation": None}


@pytest.mark.parametrize(
    ("make", "taps"), [(plain_unet, ["coarse", "out"]), (Written, ["deep", "fine", "output"])]
)
def test_any_model_is_pretrained_and_used(make, taps, tmp_path):
    network = make()
    pretrainer = ContrastivePretrainer(network, taps=taps, **CHEAP)
    pretrainer.compile(keras.optimizers.Adam(1e-2))
    history = pretrainer.fit(FakeStream(steps=3, fixed=True), epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 0.05
    assert {f"loss_{tap}" for tap in taps} < set(history)
    volume = np.random.default_rng(0).random((16, 16, 16)).astype("float32")
    features = FeatureExtractor(network)(volume)
    assert features.shape == (16, 16, 16, 6)
    # Whatever the class, the network is a folder that says all of itself.
    pretrainer.save_network(tmp_path / "run", {"norm": "unit"})
    loaded = load_network(tmp_path / "run" / "backbone")
    np.testing.assert_allclose(FeatureExtractor(loaded)(volume), features, atol=1e-6)
    segmenter = Segmenter(network, classes=1)
    # A copy: what the segmenter learns, the backbone does not.
    assert segmenter.backbone is not network
    assert segmenter.predict_on_batch(volume[None, ..., None]).shape == (1, 16, 16, 16, 2)


@pytest.mark.slow
def test_a_network_of_medicai_is_pretrained():
    models = pytest.importorskip("medicai.models")
    network = models.SegFormer(
        input_shape=(16, 16, 16, 1), encoder_name="mit_b0", num_classes=6,
        decoder_head_embedding_dim=16,
    )  # fmt: skip
    volumes = [x.name for x in network.layers if len(getattr(x.output, "shape", ())) == 5]
    tap = volumes[len(volumes) // 2]
    pretrainer = ContrastivePretrainer(network, taps=[tap, "output"], **CHEAP)
    pretrainer.compile()
    before = [to_numpy(w).copy() for w in network.trainable_weights[:2]]
    history = pretrainer.fit(FakeStream(steps=2), verbose=0).history
    assert np.isfinite([history["loss"], history[f"loss_{tap}"], history["loss_output"]]).all()
    for old, weight in zip(before, network.trainable_weights, strict=False):
        assert (to_numpy(weight) != old).any()


def test_the_features_of_any_model_register_images():
    keras.utils.set_random_seed(1)
    image = ndimage.gaussian_filter(np.random.default_rng(0).random((28, 28, 28)), 2)
    fixed, moving = image[4:24, 4:24, 4:24], image[2:22, 4:24, 4:24]
    extractor = FeatureExtractor(plain_unet(), norm="standard")
    found = register(fixed, moving, extractor=extractor, features="network")
    # What lies at x in the fixed image lies at x + 2 in the moving one. A network that learnt
    # nothing is weighed too little to go all the way; it goes that way and no other.
    inner = np.asarray(found.displacement)[..., 6:-6, 6:-6, 6:-6, :]
    x, *others = np.median(inner.reshape(-1, 3), axis=0)
    assert 0.2 < x < 2.2
    assert np.abs(others).max() < 0.3 * x


def test_layers_of_a_graph_are_heard_as_they_are_read():
    network = plain_unet()
    volume = np.random.default_rng(0).normal(size=(2, 9, 8, 8, 1)).astype("float32")
    network = keras.Model(network.input, network.get_layer("coarse").output)
    (read, channels), heard = (
        with_taps(network, ["fine", "coarse"]),
        LayerOutputs(network, ["fine", "coarse"]),
    )
    with no_gradient():
        first, second = read(volume), heard(volume)
    assert channels == {"output": 8, "fine": 4, "coarse": 8}
    assert set(first) == set(second) == {"output", "fine", "coarse"}
    for name in first:
        np.testing.assert_array_equal(to_numpy(first[name]), to_numpy(second[name]))
    # Nothing stays behind in the layers that were listened to.
    assert "call" not in vars(network.get_layer("fine"))


def test_voxels_of_an_odd_grid_are_the_same_ones_in_a_shifted_view():
    # 17 voxels leave 9 behind a stride of 2: the second view, cut 8 later, shows 4 voxels of the
    # coarse grid fewer.
    places = np.arange(9, dtype="float32").reshape(1, 9, 1, 1, 1)
    label_maps = np.zeros((2, 17, 1, 1), "int32")
    drawn = draw_voxels(
        ops.convert_to_tensor(np.concatenate([places, places])), "t", label_maps=label_maps,
        shift=ops.convert_to_tensor([[-8, 0, 0]], "int32"), keys=ops.ones((1, 2), "int32"), count=9,
        balanced=False,
    )  # fmt: skip
    first, second = to_numpy(drawn.rows)[..., 0]
    same = to_numpy(drawn.voxels)[0] == to_numpy(drawn.voxels)[1]
    np.testing.assert_array_equal(first[same] - 5, second[same])
    assert same.sum() == 4


@pytest.mark.parametrize(
    ("make", "tap", "message"),
    [
        (plain_unet, "absent", "no such layer"),
        (Written, "absent", "no such layer"),
        (lambda: keras.Sequential([keras.Input((4, 4, 4, 1)), keras.layers.Flatten(name="flat")]),
         "flat", r"volumes \(B, D, H, W, C\)"),
        (lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), "output",
         r"volumes \(B, D, H, W, C\)"),
    ],
)  # fmt: skip
def test_what_is_no_tap_is_named(make, tap, message):
    with pytest.raises(ValueError, match=message):
        ContrastivePretrainer(make(), taps=[tap], **CHEAP)
