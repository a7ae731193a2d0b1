"""`anyvox convert`: there and back, and its mistakes."""

import numpy as np
import pytest
import torch
from own_networks import plain_unet, tiny_vit

from anyvox_keras.backend import to_numpy
from anyvox_keras.cli import main
from anyvox_keras.networks import load_network


@pytest.mark.parametrize("name", ["unet_base_small", "unet_dev_small", "vit_small"])
def test_there_and_back_is_the_same_network(data, tmp_path, name):
    checkpoint = data / "oracle" / f"{name}.pth"
    assert main(["convert", str(checkpoint), str(tmp_path / "preset")]) == 0
    assert main(["convert", str(tmp_path / "preset"), str(tmp_path / "back.pth")]) == 0
    theirs, ours = (torch.load(p, weights_only=True) for p in (checkpoint, tmp_path / "back.pth"))
    assert {key.removeprefix("_orig_mod.") for key in theirs} == set(ours)
    for key, value in theirs.items():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(ours[key.removeprefix("_orig_mod.")], value)


def test_a_keras_file_goes_to_pytorch_if_it_is_a_network_of_the_paper(tmp_path, capsys):
    vit = tiny_vit()
    vit.save(tmp_path / "vit.keras")
    assert main(["convert", str(tmp_path / "vit.keras"), str(tmp_path / "vit.pth")]) == 0
    for a, b in zip(vit.weights, load_network(tmp_path / "vit.pth").weights, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
    plain_unet().save(tmp_path / "own.keras")
    assert main(["convert", str(tmp_path / "own.keras"), str(tmp_path / "own.pth")]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert "own.pth: a checkpoint holds a UNet or a ViT, received Functional" in error[0]


@pytest.mark.parametrize(
    ("source", "out", "reason"),
    [
        ("a.pth", "b.pth", "OUT_FOLDER"),
        ("preset", "folder", "OUT_FOLDER"),
        ("none.pth", "folder", "none.pth"),
        ("nonsense", "b.pth", "nonsense"),
        ("text.pth", "folder", "text.pth"),
        ("text.pth", "full", "exists already"),
    ],
)
def test_misuse_is_one_line(tmp_path, monkeypatch, capsys, source, out, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.pth").write_text("no checkpoint")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("")
    assert main(["convert", source, out]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert reason in lines[0]
