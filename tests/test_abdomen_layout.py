"""examples/abdomen_mr_ct.py on a folder in Learn2Reg's own layout."""

import csv
import json
import sys
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

import anyvox_keras as avx


@pytest.fixture
def script(root, load_file):
    return load_file(root / "examples/abdomen_mr_ct.py")


def learn2reg(folder, side=16):
    """Three pairs, MR 0000 and CT 0001, listed as the challenge does; the third has no masks."""
    rng = np.random.default_rng(0)
    pairs = []
    for case in (1, 2, 3):
        names = [f"AbdomenMRCT_{case:04d}_{modality:04d}.nii.gz" for modality in (0, 1)]
        for name in names:
            for sub, array in (
                ("imagesTr", rng.normal(size=(side,) * 3).astype("float32") * 400),
                ("labelsTr", rng.integers(0, 5, (side,) * 3).astype("uint8")),
                ("masksTr", np.ones((side,) * 3, "uint8")),
            ):
                if sub == "masksTr" and case == 3:
                    continue
                (folder / sub).mkdir(parents=True, exist_ok=True)
                nib.save(nib.Nifti1Image(array, np.diag([2.0, 2, 2, 1])), folder / sub / name)
        pairs.append({"fixed": f"./imagesTr/{names[0]}", "moving": f"./imagesTr/{names[1]}"})
    listed = {
        "name": "AbdomenMRCT",
        "registration_direction": {"fixed": 0, "moving": 1},
        "modality": {"0": "MR", "1": "CT"},
        "registration_val": pairs,
    }
    (folder / "AbdomenMRCT_dataset.json").write_text(json.dumps(listed))
    return folder


def run(script, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["abdomen_mr_ct.py", *map(str, arguments)])
    script.main()


def test_every_listed_pair_is_registered_with_its_files(script, tmp_path, monkeypatch, capsys):
    asked = []

    def register(**given):
        asked.append(given)
        found = {"before": 0.1, "after": (0.2, 0.4, 0.9)[len(asked) - 1]}
        return SimpleNamespace(metrics={"mean_dice": found, "folds_percent": 0.0})

    monkeypatch.setattr(avx, "register", register)
    folder = learn2reg(tmp_path / "AbdomenMRCT")
    run(script, monkeypatch, "--data", folder, "--out", tmp_path / "table.csv")
    assert [given["preset"] for given in asked] == ["convexadam"] * 3
    assert all("fixed_clip" not in given and given["moving_clip"] == (-450, 450) for given in asked)
    assert ["fixed_mask" in given for given in asked] == [True, True, False]
    for sub, end, key in (
        ("imagesTr", "0000", "fixed"), ("labelsTr", "0001", "moving_seg"),
        ("masksTr", "0001", "moving_mask"),
    ):  # fmt: skip
        path = folder / sub / f"AbdomenMRCT_0002_{end}.nii.gz"
        assert asked[1][key].resolve() == path.resolve()
        assert path.exists()
    assert "3 pairs: mean Dice 0.500, median 0.400" in capsys.readouterr().out
    rows = list(csv.reader((tmp_path / "table.csv").open()))
    assert rows[0] == ["pair", "before", "after", "folds_percent"]
    assert rows[3] == ["AbdomenMRCT_0003_0000.nii.gz", "0.1", "0.9", "0.0"]


def test_a_pair_is_registered_and_another_folder_refused(script, tmp_path, monkeypatch, capsys):
    folder = learn2reg(tmp_path / "AbdomenMRCT")
    path = folder / "AbdomenMRCT_dataset.json"
    listed = json.loads(path.read_text())
    path.write_text(json.dumps({**listed, "registration_val": listed["registration_val"][:1]}))
    run(script, monkeypatch, "--data", folder)
    assert "1 pairs: mean Dice 0." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run(script, monkeypatch, "--data", tmp_path)
    assert "expected a folder with AbdomenMRCT_dataset.json" in capsys.readouterr().err
