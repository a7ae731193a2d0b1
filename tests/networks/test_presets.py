"""Preset folders and published names."""

import hashlib
import json

import numpy as np
import pytest

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.networks import UNet, ViT, load_network, preset_metadata
from anyvox_keras.networks.convert import to_torch
from anyvox_keras.networks.presets import PACKAGED, preset_folder
from anyvox_keras.segmentation import Segmenter
from anyvox_keras.voxelmorph import VoxelMorph


@pytest.fixture
def unet():
    return UNet(width=2, levels=2, seed=0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ANYVOX_CACHE", str(tmp_path / "cache"))
    # No download is tried, whatever the machine's connection.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def assert_same(first, second):
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(first.predict_on_batch(x), second.predict_on_batch(x))


def test_a_folder_holds_config_weights_metadata_and_card(unet, tmp_path):
    unet.save_to_preset(tmp_path / "mine", {"steps": 7})
    names = {"config.json", "model.weights.h5", "metadata.json", "README.md"}
    assert {p.name for p in (tmp_path / "mine").iterdir()} == names
    metadata = json.loads((tmp_path / "mine" / "metadata.json").read_text())
    assert metadata["steps"] == 7
    assert metadata["parameters"] == sum(np.prod(w.shape) for w in unet.trainable_weights)
    assert_same(UNet.from_preset(tmp_path / "mine"), unet)
    assert_same(UNet.from_preset(str(tmp_path / "mine")), unet)


def test_half_precision_is_half_the_size_and_the_same_to_its_rounding(unet, tmp_path):
    unet.save_to_preset(tmp_path / "whole")
    unet.save_to_preset(tmp_path / "half", half=True)
    half = UNet.from_preset(tmp_path / "half")
    for ours, theirs in zip(half.weights, unet.weights, strict=True):
        assert ours.dtype == "float32"
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs).astype("float16"))
    big = UNet(width=16, levels=2)
    sizes = []
    for folder, half in (("a", False), ("b", True)):
        big.save_to_preset(tmp_path / folder, half=half)
        sizes.append((tmp_path / folder / "model.weights.h5").stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]


PACKAGED_SIZES = {
    "anyvox-base": (5_900_000, 13e6),
    "anyvox-morph": (2_000_000, 4e6),
    "anyvox-small": (1_600_000, 4e6),
}


@pytest.mark.parametrize("name", PACKAGED_SIZES)
def test_packaged_weights_are_those_of_their_card(name):
    folder = preset_folder(name)
    digest = hashlib.sha256((folder / "model.weights.h5").read_bytes()).hexdigest()
    assert preset_metadata(name)["sha256"] == digest
    assert f"`{digest}`" in (folder / "README.md").read_text()
    most_parameters, most_bytes = PACKAGED_SIZES[name]
    assert (folder / "model.weights.h5").stat().st_size < most_bytes
    network = load_network(name)
    assert network.count_params() < most_parameters
    assert sorted(p.parent.name for p in PACKAGED.glob("*/config.json")) == sorted(PACKAGED_SIZES)


def test_saving_again_replaces(unet, tmp_path):
    UNet(width=2, levels=2, seed=1).save_to_preset(tmp_path)
    unet.save_to_preset(tmp_path)
    assert_same(UNet.from_preset(tmp_path), unet)
    assert len(list(tmp_path.iterdir())) == 4


def test_weights_that_are_not_those_of_the_metadata_are_refused(unet, tmp_path):
    for safetensors in (False, True):
        unet.save_to_preset(tmp_path, safetensors=safetensors, half=True)
        half = UNet.from_preset(tmp_path)
        for ours, theirs in zip(half.weights, unet.weights, strict=True):
            np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs).astype("float16"))
    with open(tmp_path / "model.safetensors", "ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be loaded \(its SHA-256 is"):
        UNet.from_preset(tmp_path)


def networks():
    yield VoxelMorph(encoder=(2, 2), decoder=(2, 2, 2), seed=0)
    yield Segmenter(UNet(width=2, levels=1, seed=0), classes=2)
    yield ViT(side=8, channels=6, depth=1, heads=1, width=2, output_channels=2, seed=0)


@pytest.mark.parametrize("network", networks(), ids=lambda x: type(x).__name__)
def test_every_network_has_presets(network, tmp_path):
    network.save_to_preset(tmp_path, {"licence": "MIT"})
    for loaded in (type(network).from_preset(tmp_path), load_network(tmp_path)):
        assert type(loaded) is type(network)
        for ours, theirs in zip(loaded.weights, network.weights, strict=True):
            np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))
    name = type(network).__name__
    with pytest.raises(UserError, match=f"expected a preset of UNet, received {name}"):
        UNet.from_preset(tmp_path)


def test_a_runs_backbone_is_found(unet, tmp_path):
    unet.save_to_preset(tmp_path / "run" / "backbone")
    assert_same(UNet.from_preset(tmp_path / "run"), unet)


def test_precision_is_the_loaders_choice(unet, tmp_path):
    UNet(width=2, levels=2, seed=0, dtype="mixed_bfloat16").save_to_preset(tmp_path)
    assert_same(UNet.from_preset(tmp_path), unet)
    mixed = UNet.from_preset(tmp_path, dtype="mixed_bfloat16")
    assert mixed.get_layer("stem_conv").compute_dtype == "bfloat16"


def test_published_weights_are_read_from_the_cache(cache):
    published = UNet(width=2, levels=1, output_channels=4, seed=5)
    to_torch(published, cache / "anatomix.pth")
    assert_same(UNet.from_preset("anatomix"), published)
    assert preset_metadata("anatomix")["source"].endswith("neeldey/anatomix")


def test_offline_says_what_to_download_and_where_to_put_it(cache):
    with pytest.raises(UserError) as error:
        UNet.from_preset("anatomix-dev")
    assert "neeldey/anatomix/resolve/main/anatomix-dev.pth" in str(error.value)
    assert str(cache / "anatomix-dev.pth") in str(error.value)
    assert "\n" not in str(error.value)


def test_mistakes_are_named(unet, tmp_path):
    with pytest.raises(UserError, match=r"unknown preset nonsense; .*anatomix"):
        UNet.from_preset("nonsense")
    with pytest.raises(UserError, match="not a preset folder"):
        UNet.from_preset(tmp_path)
    unet.save_to_preset(tmp_path)
    weights = tmp_path / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be loaded"):
        UNet.from_preset(tmp_path)
    (tmp_path / "config.json").write_text('{"class_name": "ViT", "config": {}}')
    with pytest.raises(UserError, match="expected a preset of UNet, received ViT"):
        UNet.from_preset(tmp_path)
