"""`anyvox convert`: there and back, and its mistakes."""

import numpy as np
import pytest
import torch

from anyvox_keras.cli import main
from anyvox_keras.networks import UNet


def test_there_and_back_is_the_same_network(data, tmp_path, capsys):
    checkpoint = data / "oracle" / "unet_base_small.pth"
    assert main(["convert", str(checkpoint), str(tmp_path / "preset")]) == 0
    assert UNet.from_preset(tmp_path / "preset").count_params() > 0
    assert main(["convert", str(tmp_path / "preset"), str(tmp_path / "back.pth")]) == 0
    theirs, ours = (torch.load(p, weights_only=True) for p in (checkpoint, tmp_path / "back.pth"))
    for key, value in theirs.items():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(ours[key.removeprefix("_orig_mod.")], value)


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
