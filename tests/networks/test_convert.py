"""PyTorch checkpoints, there and back."""

import numpy as np
import pytest

from anyvox_keras.errors import UserError
from anyvox_keras.networks import UNet
from anyvox_keras.networks.convert import from_torch, to_torch

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("variant", ["base", "dev"])
def test_round_trip_is_bit_exact(variant, data, tmp_path):
    path = data / "oracle" / f"unet_{variant}_small.pth"
    to_torch(from_torch(path), tmp_path / "back.pth")
    before, after = (torch.load(p, weights_only=True) for p in (path, tmp_path / "back.pth"))
    before = {key.removeprefix("_orig_mod."): value for key, value in before.items()}
    assert list(before) == list(after)
    for key, value in before.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, after[key]), key
        assert value.dtype == after[key].dtype
        assert value.shape == after[key].shape


def test_variant_is_read_from_the_keys(data):
    base = from_torch(data / "oracle" / "unet_base_small.pth").get_config()
    dev = from_torch(data / "oracle" / "unet_dev_small.pth").get_config()
    assert (base["width"], base["levels"], base["output_channels"]) == (4, 4, 8)
    assert (base["normalization"], base["pooling"]) == ("batch", "max")
    assert (dev["levels"], dev["normalization"], dev["epsilon"]) == (5, "instance", 1e-2)
    assert (dev["pooling"], dev["upsampling"]) == ("average", "trilinear")


def test_sizes_and_skips_are_read_from_the_shapes(tmp_path):
    for arguments in (dict(width=2, levels=1), dict(width=3, levels=3, skips=False)):
        unet = UNet(input_channels=2, output_channels=5, seed=0, **arguments)
        to_torch(unet, tmp_path / "unet.pth")
        loaded = from_torch(tmp_path / "unet.pth")
        assert {**loaded.get_config(), "seed": 0, "name": ""} == {
            **unet.get_config(),
            "name": "",
        }
        for a, b in zip(unet.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_missing_weights_are_named(data, tmp_path):
    state = torch.load(data / "oracle" / "unet_base_small.pth", weights_only=True)
    del state["model.27.weight"], state["model.28.running_var"]
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(UserError, match=r"lacks model.27.weight, model.28.running_var$"):
        from_torch(tmp_path / "short.pth")


def test_a_truncated_file_is_a_users_mistake(data, tmp_path):
    whole = (data / "oracle" / "unet_base_small.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.pth: not a readable PyTorch checkpoint"):
        from_torch(tmp_path / "cut.pth")


def test_code_in_a_pickle_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"model.0.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="not a readable"):
        from_torch(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("state", "message"), [
    ({"encoder.weight": 1.0}, "not a UNet of the paper"),
    ([1.0], "expected a state dict of plain tensors"),
])  # fmt: skip
def test_another_networks_file_is_refused(state, message, tmp_path):
    if isinstance(state, dict):
        state = {key: torch.tensor(value) for key, value in state.items()}
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(UserError, match=message):
        from_torch(tmp_path / "other.pth")
    with pytest.raises(UserError, match="no such checkpoint"):
        from_torch(tmp_path / "absent.pth")
