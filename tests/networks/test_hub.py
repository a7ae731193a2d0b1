"""Presets on the hub, which a folder stands in for."""

import fnmatch
import inspect
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from anyvox_keras.errors import UserError
from anyvox_keras.networks import UNet, hub, load_network, preset_metadata, upload_preset

real = pytest.importorskip("huggingface_hub")


class Hub:
    """What is used of `huggingface_hub`, on a folder; each call must suit the real function."""

    def __init__(self, folder):
        self.folder, self.repositories, self.online = folder, {}, True

    def HfApi(self):  # noqa: N802
        return self

    def create_repo(self, *args, **kwargs):
        told = self._told(real.HfApi.create_repo, None, *args, **kwargs)
        assert told["exist_ok"]
        self.repositories.setdefault(told["repo_id"], [])

    def upload_folder(self, **kwargs):
        told = self._told(real.HfApi.upload_folder, None, **kwargs)
        commits = self.repositories[told["repo_id"]]
        oid = f"{len(commits) + 1:040x}"
        (self.folder / oid).mkdir()
        for path in told["folder_path"].iterdir():
            if any(fnmatch.fnmatch(path.name, pattern) for pattern in told["allow_patterns"]):
                shutil.copy(path, self.folder / oid)
        commits.append(oid)
        return SimpleNamespace(oid=oid)

    def snapshot_download(self, *args, **kwargs):
        told = self._told(real.snapshot_download, *args, **kwargs)
        return str(self.folder / (told["revision"] or self.repositories[told["repo_id"]][-1]))

    def _told(self, function, *args, **kwargs):
        if not self.online:
            raise ConnectionError("no route\nto host")
        return inspect.signature(function).bind(*args, **kwargs).arguments


@pytest.fixture
def fake(tmp_path, monkeypatch):
    (tmp_path / "hub").mkdir()
    fake = Hub(tmp_path / "hub")
    monkeypatch.setattr(hub, "_hub", lambda: fake)
    return fake


def test_a_preset_goes_to_the_hub_and_back_at_any_revision(fake, tmp_path):
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 8, 1)).astype("float32")
    addresses, outputs = [], []
    for seed in (0, 1):
        unet = UNet(width=2, levels=1, seed=seed)
        facts = {"licence": "MIT", "val_loss": 3.5}
        unet.save_to_preset(tmp_path / "mine", facts, safetensors=bool(seed))
        (tmp_path / "mine" / "notes.txt").write_text("not for others")
        addresses.append(upload_preset("hf://me/mine", tmp_path / "mine"))
        outputs.append(unet.predict_on_batch(x))
    assert addresses[0] == f"hf://me/mine@{1:040x}"
    for address, expected in (*zip(addresses, outputs, strict=True), ("hf://me/mine", outputs[1])):
        np.testing.assert_array_equal(load_network(address).predict_on_batch(x), expected)
    files = {path.name for path in (tmp_path / "hub" / f"{2:040x}").iterdir()}
    assert files == {"config.json", "metadata.json", "README.md", "model.safetensors"}
    assert preset_metadata("hf://me/mine")["licence"] == "MIT"
    card = (tmp_path / "hub" / f"{2:040x}" / "README.md").read_text()
    assert card.startswith("---\n")
    assert "\nlicense: mit\n---\n" in card
    assert "| val_loss | 3.5 |" in card


def test_what_goes_wrong_is_said_in_a_line(fake, tmp_path):
    with pytest.raises(UserError, match=r"mine: not a preset folder; it lacks config.json"):
        upload_preset("hf://me/mine", tmp_path / "mine")
    with pytest.raises(UserError, match=r"expected hf://owner/name .* received hf://mine"):
        upload_preset("hf://mine", tmp_path)
    UNet(width=2, levels=1).save_to_preset(tmp_path / "mine")
    fake.online = False
    with pytest.raises(UserError, match=r"^hf://me/mine: cannot be uploaded \(ConnectionError: no"):
        upload_preset("hf://me/mine", tmp_path / "mine")
    with pytest.raises(UserError, match=r"^hf://me/mine@v1: cannot be downloaded .*; download h"):
        load_network("hf://me/mine@v1")
