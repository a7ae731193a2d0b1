"""A data set's faults are found before a training."""

import json
import re
import shutil

import numpy as np
import pytest
from segmentation.made_data import made_folder, made_pair, write

from anyvox_keras.cli import main
from anyvox_keras.segmentation import check_dataset, read_dataset


@pytest.fixture
def folder(tmp_path):
    return made_folder(tmp_path)


def found(folder, grave=True):
    findings = check_dataset(read_dataset(folder))
    return [f"{f.where}: {f.what}" for f in findings if f.grave == grave]


def test_a_sound_set_gets_a_word_about_its_size_alone(folder, capsys):
    assert found(folder) == []
    assert found(folder, grave=False) == []
    assert main(["segment", "check", "--data", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "median scan: 14 x 12 x 13 voxels of 1 x 1 x 1.5 mm" in told
    assert "2 cases for training, 1 for validation, 0 faults" in told


def _other_grid(folder):
    write(folder / "labelsTr" / "case_0.nii.gz", made_pair(0)[1], np.eye(4))


def _empty(folder):
    write(folder / "labelsTr" / "case_0.nii.gz", 0 * made_pair(0)[1], np.diag([-1, 1, 1.5, 1]))


def _beyond(folder):
    write(folder / "labelsTr" / "case_1.nii.gz", 4 * made_pair(1)[1], np.diag([-1, 1, 1.5, 1]))


def _broken(folder):
    (folder / "imagesTr" / "case_1.nii.gz").write_text("no image")


def _absent(folder):
    names = {"0": "air", "1": "front", "2": "back", "3": "roof"}
    (folder / "dataset.json").write_text(json.dumps({"labels": names}))


def _leak(folder):
    for kind in ("images", "labels"):
        source = folder / f"{kind}Tr" / "case_1.nii.gz"
        shutil.copy(source, folder / f"{kind}Val" / "case_90.nii.gz")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_other_grid, r"case_0: .*expected the affine"),
        (_empty, "case_0: its label map is empty"),
        (_beyond, "case_1: label 4 is none of 1, 2"),
        (_broken, r"case_1: .*cannot be read"),
        (_absent, r": no training case has label 3 \(roof\)"),
        (_leak, "case_90: is the same image as training case case_1"),
    ],
)
def test_a_fault_is_named_with_its_case(folder, capsys, spoil, reason):
    spoil(folder)
    told = found(folder)
    assert any(re.search(reason, line) for line in told), told
    assert main(["segment", "check", "--data", str(folder)]) == 1
    assert "wrong: " in capsys.readouterr().out


def test_small_structures_and_other_voxel_sizes_are_worth_a_word(folder):
    image, labels = made_pair(7)
    labels[:] = 0
    labels[2:4, 2:4, 2:4] = 1
    labels[6:12, 2:8, 2:8] = 2
    for kind, array in (("images", image), ("labels", labels)):
        write(folder / f"{kind}Tr" / "small.nii.gz", array, np.diag([2.0, 1, 1.5, 1]))
    told = found(folder, grave=False)
    assert "small: label 1 has only 8 voxels" in told
    assert any("voxels of 1 x 1 x 1.5 to 2 x 1 x 1.5 mm" in line for line in told)
