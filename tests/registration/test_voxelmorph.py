"""VoxelMorph against voxelmorph 0.3, and its own promises."""

import json

import keras
import numpy as np
import pytest

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.ops import warp

torch = pytest.importorskip("torch")
vxm = pytest.importorskip("voxelmorph")

RNG = np.random.default_rng(0)
PAIR = dict(zip(("fixed", "moving"), RNG.random((2, 2, 16, 24, 16, 1), "float32"), strict=True))


def pairwise(seed=0, **arguments):
    """A VxmPairwise whose flow is large enough to see: several voxels."""
    torch.manual_seed(seed)
    defaults = dict(source_channels=1, target_channels=1, nb_features=[4, 6, 8])
    module = vxm.nn.models.VxmPairwise(3, **{**defaults, **arguments})
    with torch.no_grad():
        module.flow_layer.conv0.weight.normal_(0, 2.0)
        module.flow_layer.conv0.bias.normal_(0, 0.5)
    return module.eval()


def tiny(**arguments):
    defaults = dict(encoder=(4, 6), decoder=(6, 4, 4), seed=0)
    model = avx.VoxelMorph(**{**defaults, **arguments})
    flow = model.get_layer("flow")
    kernel, bias = flow.get_weights()
    flow.set_weights([kernel * 1e5, bias + 0.5])
    return model


def channels_first(x):
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


@pytest.mark.parametrize(
    ("arguments", "channels"),
    [
        ({}, None),
        ({"source_channels": 2, "activations": torch.nn.LeakyReLU(0.2)}, (1, 2)),
        ({"nb_features": [[4, 6, 8], [5, 7, 9]], "integration_steps": 7}, None),
    ],
    ids=["default", "channels", "asymmetric"],
)
def test_equals_voxelmorph(arguments, channels):
    module = pairwise(**arguments)
    fixed = PAIR["fixed"]
    moving = np.concatenate([PAIR["moving"]] * (channels or (1, 1))[1], -1)
    with torch.no_grad():
        expected = module(
            channels_first(moving),
            channels_first(fixed),
            return_warped_source=True,
            return_warped_target=True,
        )
    model = avx.VoxelMorph.from_voxelmorph(module, channels)
    actual = model.predict_on_batch({"fixed": fixed, "moving": moving})
    assert np.abs(expected[0].numpy()).max() > 1, "a flow that moves nothing shows nothing"
    for name, theirs in zip(("displacement", "moved", "moved_back"), expected, strict=True):
        ours = np.moveaxis(to_numpy(actual[name]), -1, 1)
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-4, err_msg=name)


def test_weights_go_round_bit_for_bit():
    before = pairwise()
    after = avx.VoxelMorph.from_voxelmorph(before).to_voxelmorph()
    assert list(before.state_dict()) == list(after.state_dict())
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name]), name


def test_to_voxelmorph_and_back():
    model = tiny(channels=(1, 2), slope=0.1)
    back = avx.VoxelMorph.from_voxelmorph(model.to_voxelmorph(), channels=(1, 2))
    for a, b in zip(model.get_weights(), back.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    same = {"seed": 0, "name": "", "slope": 0.1}
    assert {**back.get_config(), **same} == {**model.get_config(), **same}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unet_kwargs": {"normalizations": "instance", "order": "cna"}}, "blocks other than"),
        ({"unet_kwargs": {"upsample_mode": "nearest"}}, "upsampling other than linear"),
        ({"unet_kwargs": {"skip_connections": False}}, "no skip connections"),
        ({"final_activation": "relu"}, "a final activation"),
        ({"nb_features": [0, 4, 6]}, "levels without a convolution"),
        ({"activations": "elu"}, "expected ReLU or LeakyReLU"),
        ({"source_channels": 2}, "`channels` is needed"),
    ],
)
def test_foreign_parts_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        avx.VoxelMorph.from_voxelmorph(pairwise(**arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        {"flow_stride": 2},
        {"decoder": (6, 4, 3)},
        {"conventions": "0.2"},
        {"mind": True},
        {"correlation": (2,)},
    ],
)
def test_what_voxelmorph_cannot_hold_is_an_error(arguments):
    with pytest.raises(ValueError, match="VxmPairwise needs"):
        tiny(**arguments).to_voxelmorph()


@pytest.mark.parametrize("stride", [1, 2])
def test_any_size(stride):
    model = tiny(flow_stride=stride)
    for shape in ((9, 14, 11), (16, 12, 13)):
        fixed, moving = RNG.random((2, 1, *shape, 1), "float32")
        displacement, moved = model.register(fixed, moving)
        assert displacement.shape == (1, *shape, 3)
        np.testing.assert_allclose(moved, to_numpy(warp(moving, displacement)), atol=1e-5)


def test_both_ways_is_the_inverse_of_the_other_way_round():
    model = tiny(flow_stride=2)
    images = RNG.random((2, 1, 12, 16, 12, 1), "float32")
    there = model.register_both(*images, both_ways=True)
    back = model.register_both(*images[::-1], both_ways=True)
    for name, other in (("displacement", "inverse"), ("moved", "moved_back")):
        np.testing.assert_allclose(there[name], back[other], atol=1e-4)
    one, two = (model.register_both(*pair)["velocity"] for pair in (images, images[::-1]))
    np.testing.assert_allclose(there["velocity"], 0.5 * (one - two), atol=1e-5)
    assert np.abs(one + two).max() > 0.1  # one way alone is not
    with pytest.raises(ValueError, match="`both_ways` needs an integrated velocity"):
        tiny(steps=0).register(*images, both_ways=True)


def test_saved_model_is_the_same(tmp_path):
    model = tiny(flow_stride=2, integration_stride=1, steps=3, mind=True, correlation=(1, 2))
    json.dumps(model.get_config())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for ours, theirs in zip(model.register(**PAIR), loaded.register(**PAIR), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_same_seed_same_weights():
    for a, b in zip(tiny().get_weights(), tiny().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_starts_next_to_no_displacement():
    displacement, moved = avx.VoxelMorph(encoder=(4, 6), decoder=(6, 4, 4)).register(**PAIR)
    assert np.abs(displacement).max() < 1e-2
    np.testing.assert_allclose(moved, PAIR["moving"], atol=2e-2)


def test_mixed_precision_keeps_displacements_float32():
    model = tiny(dtype="mixed_bfloat16")
    outputs = model.predict_on_batch(PAIR)
    assert {str(keras.backend.standardize_dtype(x.dtype)) for x in outputs.values()} == {"float32"}
    expected = to_numpy(tiny().predict_on_batch(PAIR)["displacement"])
    assert np.abs(to_numpy(outputs["displacement"]) - expected).mean() < 0.05 * expected.std()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="`decoder` must be at least as long"):
        avx.VoxelMorph(encoder=(4, 4), decoder=(4,))
    with pytest.raises(ValueError, match="`flow_stride` must be 1, 2, 4"):
        avx.VoxelMorph(flow_stride=3)
    with pytest.raises(ValueError, match="`conventions` must be one of"):
        avx.VoxelMorph(conventions="0.1")
    with pytest.raises(ValueError, match=r"`moving` must be \(B, D, H, W, 1\)"):
        tiny().register(PAIR["fixed"], PAIR["moving"][..., 0])
    with pytest.raises(ValueError, match="`correlation` must hold strides of the encoder"):
        avx.VoxelMorph(encoder=(4, 4), decoder=(4, 4), correlation=(4,))
    with pytest.raises(ValueError, match="`mind` needs one channel"):
        avx.VoxelMorph(channels=2, mind=True)
    spoilt = np.where(np.arange(PAIR["fixed"].size) == 7, np.nan, PAIR["fixed"].ravel())
    spoilt = spoilt.reshape(PAIR["fixed"].shape)
    for image, word in (
        (spoilt, "finite"), (PAIR["fixed"] * 1j, "real"), (np.ma.masked_invalid(spoilt), "masked"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"`fixed` must .*{word}"):
            tiny().register(image, PAIR["moving"])
    with pytest.raises(ValueError, match="the same grid"):
        tiny().register(PAIR["fixed"], PAIR["moving"][:, :8])
