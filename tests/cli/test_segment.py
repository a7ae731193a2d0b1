"""`anyvox segment`: train, predict, evaluate, refuse."""

import csv
import json
import os
import re
import shutil

import keras
import nibabel as nib
import numpy as np
import pytest
from own_networks import tiny_vit
from segmentation.made_data import made_folder, write
from segmentation.test_layouts import nnunet_folder

from anyvox_keras.cli import main
from anyvox_keras.metrics import dice, hd95

TINY = [
    "--weights", "scratch", "--width", "4", "--levels", "1", "--side", "12", "--batch_size", "2",
    "--log_every", "1", "--validate_every", "4", "--balanced", "--learning_rate", "0.01",
]  # fmt: skip
TINY = [word.replace("_", "-") for word in TINY]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data folder and a run on it."""
    folder = tmp_path_factory.mktemp("segment")
    made_folder(folder / "data")
    assert segment("train", folder, "--steps", 4) == 0
    return folder


def segment(command, folder, *words):
    first = {
        "train": ["--data", folder / "data", "--out", folder / "run", *TINY],
        "predict": ["--run", folder / "run"],
        "evaluate": ["--labels", folder / "data" / "labelsTs"],
    }[command]
    return main(["segment", command, *map(str, [*first, *words])])


def refused(capsys, reason):
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert reason in lines[0]
    return True


def test_predictions_have_the_names_grids_and_headers_of_their_images(place, capsys):
    out = place / "predictions"
    words = ["--images", place / "data" / "imagesTs", "--out", out]
    more = ["--largest", "--flips", "--probabilities", "--report"]
    assert segment("predict", place, *words, *more) == 0
    assert "<h2>Volumes</h2>" in (out / "case_91.html").read_text(encoding="utf-8")
    labels = nib.load(out / "case_91.nii.gz")
    image = nib.load(place / "data" / "imagesTs" / "case_91.nii.gz")
    assert labels.shape == image.shape
    np.testing.assert_array_equal(labels.affine, image.affine)
    assert set(np.unique(labels.dataobj)) <= {0, 1, 2}
    with open(out / "volumes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["label"], row["name"]) for row in rows] == [
        ("case_91", "1", "front"), ("case_91", "2", "back"),
    ]  # fmt: skip
    for row in rows:  # voxels of 1.5 mm3
        count = np.count_nonzero(np.asarray(labels.dataobj) == int(row["label"]))
        assert float(row["ml"]) == pytest.approx(0.0015 * count, abs=1e-4)
        assert (row["confidence"] != "") == (count > 0)
    values = nib.load(out / "case_91_probabilities.nii.gz").get_fdata()
    assert values.shape == (*image.shape, 3)
    np.testing.assert_allclose(values.sum(-1), 1, atol=1e-5)
    assert segment("predict", place, *words) == 2
    assert refused(capsys, "exists already")


def test_an_ensemble_of_a_run_with_itself_is_that_run(place, tmp_path):
    image = place / "data" / "imagesTs" / "case_91.nii.gz"
    for name, more in (("one", []), ("two", ["--run", place / "run"])):
        assert segment("predict", place, "--images", image, "--out", tmp_path / name, *more) == 0
    one, two = (nib.load(tmp_path / n / "case_91.nii.gz").get_fdata() for n in ("one", "two"))
    np.testing.assert_array_equal(one, two)


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="which files are read hangs on no backend"
)
def test_channels_in_files_of_their_own_may_be_missing(tmp_path, capsys):
    data = tmp_path / "data"
    nnunet_folder(data)
    assert segment("train", tmp_path, "--steps", 1, "--validate-every", 1) == 0
    assert json.loads((tmp_path / "run" / "classes.json").read_text())["files"] == 2
    words = ["--images", data / "imagesTr", "--out", tmp_path / "out"]
    assert segment("predict", tmp_path, *words) == 0
    assert "least certain: " in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a.nii.gz", "b_1.nii.gz", "volumes.csv"}
    alone = data / "imagesTr" / "a_0001.nii.gz"
    assert segment("predict", tmp_path, "--images", alone, "--out", tmp_path / "one") == 0
    assert (tmp_path / "one" / "a.nii.gz").exists()


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="which files are read hangs on no backend"
)
def test_folds_are_an_ensemble_and_a_run_becomes_a_preset(tmp_path, capsys):
    made_folder(tmp_path / "data", training=3)
    assert segment("train", tmp_path, "--steps", 1, "--validate-every", 1, "--folds", 4) == 2
    assert refused(capsys, "folds: expected 2 to 3")
    assert segment("train", tmp_path, "--steps", 1, "--validate-every", 1, "--folds", 2) == 0
    told = capsys.readouterr().out
    assert "1 cases for training, 2 for validation" in told
    assert "2 cases for training, 1 for validation" in told
    preset = ["preset", "--run", tmp_path / "run" / "fold_1", "--out", tmp_path / "mine"]
    assert main(["segment", *map(str, preset)]) == 0
    image = tmp_path / "data" / "imagesTs" / "case_91.nii.gz"
    words = ["--images", image, "--probabilities"]
    for name, run in (("both", "run"), ("first", "mine"), ("second", "run/fold_2")):
        more = [*words, "--run", tmp_path / run, "--out", tmp_path / name]
        assert main(["segment", "predict", *map(str, more)]) == 0
    both, first, second = (
        nib.load(tmp_path / name / "case_91_probabilities.nii.gz").get_fdata()
        for name in ("both", "first", "second")
    )
    np.testing.assert_allclose(both, (first + second) / 2, atol=1e-5)


def test_runs_that_see_scans_otherwise_are_no_ensemble(place, tmp_path, capsys):
    shutil.copytree(place / "run", tmp_path / "other")
    config = tmp_path / "other" / "config.toml"
    config.write_text(config.read_text().replace("crop = [12", "crop = [8"))
    image = place / "data" / "imagesTs" / "case_91.nii.gz"
    words = ["--images", image, "--out", tmp_path / "out", "--run", tmp_path / "other"]
    assert segment("predict", place, *words) == 2
    assert refused(capsys, "expected crop, spacing, scaling, window of")


def test_evaluation_writes_every_case_and_draws(place, tmp_path):
    truth = nib.load(place / "data" / "labelsTs" / "case_91.nii.gz")
    shifted = np.roll(np.asarray(truth.dataobj), 1, axis=0)
    write(tmp_path / "found" / "case_91.nii.gz", shifted, truth.affine)
    words = ["--predictions", tmp_path / "found", "--out", tmp_path / "scores.csv"]
    assert segment("evaluate", place, *words, "--images", place / "data" / "imagesTs") == 0
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = np.asarray(truth.dataobj)
    overlap, distance = dice(shifted, expected), hd95(shifted, expected, truth.header.get_zooms())
    assert [(row["case"], int(row["label"])) for row in rows] == [("case_91", 1), ("case_91", 2)]
    for row in rows:
        assert float(row["dice"]) == pytest.approx(overlap[int(row["label"])])
        assert float(row["hd95_mm"]) == pytest.approx(distance[int(row["label"])])
    assert (tmp_path / "scores.png").stat().st_size > 10_000
    page = (tmp_path / "scores.html").read_text(encoding="utf-8")
    assert f"{overlap[1]:.4g}</td>" in page
    assert "labels, true" in page


def test_the_picture_shows_best_median_and_worst(place, tmp_path, monkeypatch):
    """Three predictions, shifted by 2, 0 and 1 voxels; their names do not follow their quality."""
    from anyvox_keras import pictures

    image = nib.load(place / "data" / "imagesTs" / "case_91.nii.gz")
    truth = np.asarray(nib.load(place / "data" / "labelsTs" / "case_91.nii.gz").dataobj)
    for name, shift in (("a", 2), ("b", 0), ("c", 1)):
        file = f"{name}.nii.gz"
        write(tmp_path / "found" / file, np.roll(truth, shift, axis=0), image.affine)
        write(tmp_path / "labels" / file, truth, image.affine)
        write(tmp_path / "images" / file, np.asarray(image.dataobj), image.affine)
    drawn = []
    draw = pictures.cases_picture
    monkeypatch.setattr(pictures, "cases_picture", lambda rows: drawn.extend(rows) or draw(rows))
    parts = ["--predictions", "found", "--labels", "labels", "--images", "images"]
    words = [word if word.startswith("--") else str(tmp_path / word) for word in parts]
    assert main(["segment", "evaluate", *words, "--out", str(tmp_path / "scores.csv")]) == 0
    assert [row.title.split(",")[0] for row in drawn] == ["best: b", "median: c", "worst: a"]
    assert "Dice 1.000" in drawn[0].title


def test_a_run_is_resumed_only_when_asked(place, capsys):
    assert segment("train", place, "--steps", 4) == 2
    assert refused(capsys, "--resume")
    assert segment("train", place, "--steps", 4, "--resume") == 0
    assert "finished at step 4" in capsys.readouterr().out
    assert segment("train", place, "--steps", 5, "--resume") == 2
    assert refused(capsys, "steps: the run was begun with 4, received 5")


def _no_validation(folder):
    for path in (folder / "data" / "imagesVal").iterdir():
        path.unlink()


def _no_training(folder):
    for path in (folder / "data" / "imagesTr").iterdir():
        path.unlink()


def _halves(folder):
    path = folder / "data" / "labelsTr" / "case_0.nii.gz"
    labels = nib.load(path)
    write(path, np.asarray(labels.dataobj) / np.float32(2), labels.affine)


def _other_grid(folder):
    path = folder / "data" / "labelsTr" / "case_0.nii.gz"
    write(path, np.asarray(nib.load(path).dataobj), np.eye(4))


def _lacking(folder):
    for path in (folder / "data" / "labelsTr").iterdir():
        labels = nib.load(path)
        write(path, np.minimum(np.asarray(labels.dataobj), 1), labels.affine)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_no_validation, "imagesVal: expected validation images"),
        (_no_training, "imagesTr: expected training images"),
        (_halves, "expected integer labels"),
        (_other_grid, "expected the affine"),
        (_lacking, "no training case has label 2"),
    ],
)
def test_bad_data_is_one_line_and_leaves_no_run(tmp_path, capsys, spoil, reason):
    made_folder(tmp_path / "data")
    spoil(tmp_path)
    assert segment("train", tmp_path, "--steps", 2) == 2
    assert refused(capsys, reason)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--class-weights", "1,1"], "class_weights: expected 3 numbers, background first"),
        (["--weights", "nowhere", "--width", 0, "--levels", 0], "unknown preset nowhere"),
        (["--train", "most"], "train: expected all, decoder, head"),
    ],
)
def test_bad_settings_are_one_line_and_leave_no_run(place, tmp_path, capsys, words, reason):
    assert segment("train", place, "--steps", 2, "--out", tmp_path / "run", *words) == 2
    assert refused(capsys, reason)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(
    keras.backend.backend() != "torch" and "ANYVOX_SLOW" not in os.environ,
    reason="compiles for minutes",
)
def test_a_vit_is_fine_tuned_in_crops_of_its_own_side(place, tmp_path):
    tiny_vit().save_to_preset(tmp_path / "vit")
    words = ["--weights", tmp_path / "vit", "--width", 0, "--levels", 0, "--side", 16]
    words += ["--out", tmp_path / "run", "--steps", 2]
    assert segment("train", place, *words) == 0
    crop = re.search(r"crop = (.+)", (tmp_path / "run" / "config.toml").read_text(encoding="utf-8"))
    assert json.loads(crop[1]) == [16, 16, 16]
    images = ["--images", place / "data" / "imagesTs", "--out", tmp_path / "labels"]
    assert main(["segment", "predict", "--run", str(tmp_path / "run"), *map(str, images)]) == 0
    labels = nib.load(tmp_path / "labels" / "case_91.nii.gz")
    assert labels.shape == nib.load(place / "data" / "imagesTs" / "case_91.nii.gz").shape


def test_a_run_does_not_replace_what_it_begins_from(place, capsys):
    for weights in (place / "run", place / "run" / "backbone"):
        words = ["--steps", 2, "--overwrite", "--width", 0, "--levels", 0, "--weights", weights]
        assert segment("train", place, *words) == 2
        assert refused(capsys, "in the run")
    assert (place / "run" / "backbone" / "config.json").exists()


def test_an_evaluation_replaces_no_label_map(place, capsys):
    labels = place / "data" / "labelsTs"
    (first, *_) = sorted(labels.iterdir())
    before = first.read_bytes()
    words = ["--predictions", labels, "--out", first, "--overwrite"]
    assert segment("evaluate", place, *words) == 2
    assert refused(capsys, "replace an input")
    assert first.read_bytes() == before


def test_two_images_of_one_name_are_refused(place, tmp_path, capsys):
    (image, *_) = sorted((place / "data" / "imagesTs").iterdir())
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        shutil.copy(image, tmp_path / folder / "t1.nii.gz")
    # uncompressed, where only the probabilities would be of one name
    plain = tmp_path / "first" / "t1.nii"
    nib.save(nib.load(image), plain)
    out = ["--out", tmp_path / "out"]
    both = ["--images", tmp_path / "first" / "t1.nii.gz"]
    again = ["--images", tmp_path / "second" / "t1.nii.gz"]
    assert segment("predict", place, *both, *again, *out) == 2
    assert refused(capsys, "its result t1.nii.gz is that of")
    assert segment("predict", place, *both, "--images", plain, "--probabilities", *out) == 2
    assert refused(capsys, "its result t1_probabilities.nii.gz is that of")
    assert not (tmp_path / "out").exists()


def test_other_mistakes_are_one_line(place, tmp_path, capsys):
    images = ["--images", place / "data" / "imagesTs", "--out", tmp_path / "out"]
    assert main(["segment", "train", "--out", str(tmp_path / "run")]) == 2
    assert refused(capsys, "expected --data")
    assert segment("predict", tmp_path, *images) == 2
    assert refused(capsys, "expected a run of `anyvox segment train`")
    assert segment("predict", place, "--images", tmp_path / "no", "--out", tmp_path / "out") == 2
    assert refused(capsys, "no such file or folder")
    found = ["--predictions", place / "data" / "labelsTr", "--out", tmp_path / "a.csv"]
    assert segment("evaluate", place, *found) == 2
    assert refused(capsys, "expected a label map of that name")
