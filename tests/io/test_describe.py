"""`anyvox info FILE` says what is in a file, as SimpleITK and arithmetic say it."""

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from anyvox_keras.cli import main
from anyvox_keras.io import describe

AFFINE = np.diag([1.0, 1.0, 5.0, 1.0])


def image(folder, array, affine=AFFINE):
    path = folder / "scan.nii.gz"
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def test_an_image(tmp_path, rng):
    array = rng.integers(-100, 900, (12, 14, 10)).astype("int16")
    path = image(tmp_path, array)
    kind, facts, odd = describe(path)
    facts = dict(facts)
    assert kind == "image"
    read = sitk.ReadImage(str(path))
    assert facts["voxels"] == " x ".join(map(str, read.GetSize()))
    assert facts["spacing, mm"] == "1 x 1 x 5"
    assert facts["axes run to"] == "RAS"
    assert facts["values"].startswith(f"{array.min()} to {array.max()}")
    assert facts["stored as"] == "int16"
    assert odd == ["slices are 5 mm apart, voxels within them 1 mm"]


def test_what_is_odd(tmp_path, rng):
    array = rng.normal(size=(12, 12, 12)).astype("float32")
    array[3, 3, :2] = np.nan
    turned = np.eye(4)
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    odd = "\n".join(describe(image(tmp_path, array, turned)).odd)
    assert "2 voxels are not finite" in odd
    assert "oblique: 36.9 degrees" in odd
    odd = describe(image(tmp_path, np.full((12, 12, 12), 7, "int16"), 1e-4 * AFFINE)).odd
    assert any("everywhere" in line for line in odd)
    assert any("a field of view of 0.0012 mm" in line for line in odd)


def test_label_maps_and_8_bit_images_differ(tmp_path, rng):
    labels = np.zeros((16, 16, 16), "uint8")
    labels[4:9, 4:9], labels[10:, 10:] = 2, 9
    assert dict(describe(image(tmp_path, labels)).facts)["labels"] == "3: 0, 2, 9"
    grey = rng.integers(0, 100, (16, 16, 16)).astype("uint8")
    assert describe(image(tmp_path, grey)).kind == "image"


def test_series_and_transforms(tmp_path, rng):
    series = describe(image(tmp_path, rng.random((12, 12, 12, 5)).astype("float32")))
    assert dict(series.facts)["volumes"] == "5"
    sitk.WriteTransform(sitk.Euler3DTransform((0, 0, 0), 0.1, 0, 0, (1, 2, 3)),
                        str(tmp_path / "a.tfm"))  # fmt: skip
    kind, facts, _ = describe(tmp_path / "a.tfm")
    facts = dict(facts)
    assert kind == "linear transform"
    assert float(facts["turns by, degrees"]) == pytest.approx(np.degrees(0.1), rel=1e-3)
    assert facts["shifts by, mm (R, A, S)"] == "-1, -2, 3"
    field = np.zeros((12, 12, 12, 1, 3), "float32")
    field[..., 2] = 3
    kind, facts, _ = describe(image(tmp_path, field))
    assert (kind, dict(facts)["moves by, mm"]) == ("displacement field",
                                                   "3 on average, at most 3")  # fmt: skip


def test_the_command(tmp_path, capsys):
    path = image(tmp_path, np.arange(1728, dtype="float32").reshape(12, 12, 12))
    assert main(["info", str(path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{path}: image\n")
    assert "! slices are 5 mm apart" in said
    capsys.readouterr()
    assert main(["info", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(path)
    assert told["odd"] == describe(path).odd
    assert main(["info", str(tmp_path / "absent.nii")]) == 2
