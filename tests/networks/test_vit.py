"""The vision transformer against the authors' own, and at any size."""

import keras
import numpy as np
import pytest
from battery import check_layer

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.networks import UNet, ViT, convert
from anyvox_keras.networks.vit_layers import ViTBlock

TINY = dict(side=16, channels=24, depth=1, heads=2, output_channels=4, width=4, registers=2)
LAST = "decoder_3_up/bias"
# The authors' module with timm 1.0.22, which normalises queries and keys: every third channel of
# the oracle's network, at three voxels.
NORMALISED = [
    [-0.37383, 0.57748, -0.53114],
    [-0.3303, 0.17353, -0.35809],
    [-0.27843, -0.16193, 0.99132],
]


@pytest.fixture
def tiny():
    return ViT(**TINY, seed=0)


def test_outputs_equal_the_authors(data, oracle):
    expected = oracle("vit_small")
    vit = convert.from_torch(data / "oracle" / "vit_small.pth")
    assert (vit.side, vit.channels, vit.depth, vit.heads, vit.registers) == (32, 132, 2, 2, 8)
    volume = expected["x"][None, ..., None]
    features = to_numpy(vit.predict_on_batch(volume))[0]
    np.testing.assert_allclose(features[5::13, 9, 20, ::3].T, NORMALISED, atol=1e-4)
    # The oracle was made with an older timm, which leaves that norm out.
    older = ViT.from_config({**vit.get_config(), "qk_norm": False})
    older.set_weights(vit.get_weights())
    features = np.moveaxis(to_numpy(older.predict_on_batch(volume))[0], -1, 0)
    np.testing.assert_allclose(features, expected["y_eval"], rtol=0, atol=1e-4)


def test_weights_go_to_pytorch_and_back_bit_for_bit(data, tmp_path):
    torch = pytest.importorskip("torch")
    path = data / "oracle" / "vit_small.pth"
    convert.to_torch(convert.from_torch(path), tmp_path / "back.pth")
    before, after = (torch.load(p, weights_only=True) for p in (path, tmp_path / "back.pth"))
    assert set(before) == set(after)
    for key, value in before.items():
        assert torch.equal(value, after[key]), key
    with pytest.raises(UserError, match="expected a checkpoint of a UNet, received a ViT"):
        convert.load_checkpoint(UNet, path)


def test_the_published_variant_has_its_size():
    # Counted of the authors' module, whose positions and registers are parameters too.
    vit = ViT()
    assert vit.count_params() == 26_221_076
    assert vit.output_shape == (None, 128, 128, 128, 32)


def test_a_block_keeps_the_promises_of_a_layer(rng):
    tokens = rng.normal(size=(2, 10, 12)).astype("float32")
    check_layer(ViTBlock, dict(heads=2, grid=(2, 2, 2), scale=1.0, seed=0), tokens, atol=1e-4)


def test_every_weight_is_trained(tiny):
    tiny.compile(keras.optimizers.SGD(1.0), "mse")
    before = [to_numpy(w).copy() for w in tiny.trainable_weights]
    volume = np.random.default_rng(0).normal(size=(1, 16, 16, 16, 1)).astype("float32")
    loss = tiny.train_on_batch(volume, np.zeros((1, 16, 16, 16, 4), "float32"))
    assert np.isfinite(loss)
    still = [
        w.path
        for w, old in zip(tiny.trainable_weights, before, strict=True)
        if not np.isfinite(to_numpy(w)).all() or (to_numpy(w) == old).all()
    ]
    # The biases that a norm takes away again move by rounding, if at all.
    assert [path for path in still if not path.endswith("_conv/bias")] in ([], [LAST])


def test_features_of_any_size_by_windows_of_its_side(tiny, rng):
    volume = rng.random((20, 12, 16)).astype("float32")
    extractor = FeatureExtractor(tiny, overlap=0.5, rescale=False)
    features = extractor(volume)
    assert features.shape == (20, 12, 16, 4)
    # Where one window alone looks, its features are the network's own, of the reflected volume.
    first = np.pad(volume[:16], ((0, 0), (0, 4), (0, 0)), "reflect")[None, ..., None]
    alone = to_numpy(tiny.predict_on_batch(first))[0, :4, :12]
    np.testing.assert_allclose(features[:4], alone, atol=1e-5)
    with pytest.raises(ValueError, match="`inputs` must have 16 voxels per axis"):
        tiny(volume[None, ..., None])
    with pytest.raises(ValueError, match=r"`window` must be the network's, \(16, 16, 16\)"):
        FeatureExtractor(tiny, window=8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(side=20), "`side` must be a multiple of 8"),
        (dict(heads=3, channels=24), "`channels` must be a multiple of 6 heads"),
        (dict(depth=0), "`depth` must be >= 1"),
        (dict(output_norm="batch"), "`output_norm` must be one of"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ViT(**{**TINY, **arguments})
