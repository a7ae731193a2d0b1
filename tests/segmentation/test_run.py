"""A run: learns, keeps the best, goes on after a kill bit for bit, stops early."""

import csv
import dataclasses
import math

import keras
import numpy as np
import pytest
from segmentation.made_data import made_folder

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.networks import UNet
from anyvox_keras.segmentation import (
    CaseFiles,
    Dataset,
    SegmentationRun,
    SegmentationSettings,
    class_numbers,
    load_run,
    save_run_as_preset,
)
from anyvox_keras.training import EpochCosine

SETTINGS = SegmentationSettings(
    weights="scratch", width=4, levels=1, steps=6, epoch_steps=2, side=12, batch_size=2, seed=3,
    balanced=True, learning_rate=1e-2, log_every=2, validate_every=2, precision="float32",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory):
    run = SegmentationRun(tmp_path_factory.mktemp("unbroken"), of(data))
    run.train()
    return run


def of(data, **changes):
    return dataclasses.replace(SETTINGS, data=str(data), **changes)


def rows_of(run):
    with open(run.folder / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def weights_of(run, name="last.weights.h5"):
    model = run.segmenter(2)
    model.load_weights(run.folder / name)
    return [to_numpy(v) for v in model.weights]


def test_the_folder_holds_what_is_promised(unbroken):
    # A machine on which this takes a minute has drawn the curves, too.
    names = {path.name for path in unbroken.folder.iterdir()} - {"progress.png"}
    assert names == {"config.toml", "classes.json", "log.csv", "last.weights.h5",
                     "best.weights.h5", "state", "backbone"}  # fmt: skip
    rows = rows_of(unbroken)
    assert [int(row["step"]) for row in rows] == [2, 4, 6]
    for row in rows:
        assert 0 <= float(row["val_dice_2"]) <= 1
    assert unbroken.finished
    assert unbroken.train() is None


def test_the_best_weights_are_those_of_the_lowest_validation_loss(unbroken):
    losses = [float(row["val_loss"]) for row in rows_of(unbroken)]
    assert min(losses) < losses[0] or losses[0] == min(losses)
    segmenter, settings = load_run(unbroken.folder)
    scores = unbroken.validate(segmenter, unbroken.cases[1])
    assert scores["loss"] == pytest.approx(min(losses), abs=1e-5)
    assert settings == unbroken.settings
    # Settled by the scans: 14 x 12 x 13 voxels of 1 x 1 x 1.5 mm.
    assert (settings.crop, settings.voxel) == ((12, 12, 12), (1.0, 1.0, 1.5))


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(unbroken, data, tmp_path, monkeypatch):
    from anyvox_keras.training.checkpoint import Checkpoint

    save = Checkpoint.save

    def kill(self):
        if self.step > 3:
            raise KeyboardInterrupt
        save(self)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "due", lambda self: True)
        patch.setattr(Checkpoint, "save", kill)
        with pytest.raises(KeyboardInterrupt):
            SegmentationRun(tmp_path, of(data)).train()
    run = SegmentationRun(tmp_path, of(data))
    assert run.step == 3
    run.train()
    same = {"rtol": 0, "atol": 0} if keras.backend.backend() == "torch" else {"atol": 1e-6}
    for ours, theirs in zip(weights_of(run), weights_of(unbroken), strict=True):
        np.testing.assert_allclose(ours, theirs, **same)
    for ours, theirs in zip(rows_of(run), rows_of(unbroken), strict=True):
        assert float(ours["loss"]) == pytest.approx(float(theirs["loss"]), rel=1e-5)


def test_a_run_starts_from_given_weights_and_refuses_other_settings(unbroken, data, tmp_path):
    backbone = UNet(width=2, levels=1, output_channels=3, seed=4)
    backbone.save_to_preset(tmp_path / "preset")
    settings = of(data, width=0, levels=0, weights=str(tmp_path / "preset"), train="head")
    start = SegmentationRun(tmp_path / "run", settings).model()
    for own, given in zip(start.backbone.weights, backbone.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(own), to_numpy(given))
    assert len(start.trainable_variables) == 2
    with pytest.raises(UserError, match="begun with other settings"):
        SegmentationRun(unbroken.folder, of(data, seed=4))


@pytest.mark.slow
def test_patience_ends_a_run(data, tmp_path):
    run = SegmentationRun(tmp_path, of(data, steps=20, learning_rate=0.0, patience=1))
    run.train()
    assert run.finished
    assert run.step < 20


def test_only_the_named_cases_are_learnt_from(data, tmp_path):
    run = SegmentationRun(tmp_path, of(data, cases="case_1"))
    assert [case.name for case in run.cases[0]] == ["case_1"]
    with pytest.raises(UserError, match="cases: expected names of training cases, received other"):
        SegmentationRun(tmp_path, of(data, cases="case_1,other")).train()
    assert not (tmp_path / "config.toml").exists()


def test_cases_may_come_as_lists_in_place_of_a_folder(data, tmp_path):
    names = ("case_0.nii.gz", "case_1.nii.gz")
    pair = [CaseFiles("mine", data / "imagesTr" / n, data / "labelsTr" / n) for n in names]
    run = SegmentationRun(tmp_path, SETTINGS, Dataset(pair[:1], pair[1:], ("front", "back")))
    stream, validation = run.streams()
    assert [case.name for case in validation] == ["mine"]
    assert len(stream.cases) == 1
    assert run.classes == ["front", "back"]
    with pytest.raises(UserError, match="cases for training, received none"):
        SegmentationRun(tmp_path, SETTINGS, Dataset([], pair)).train()


def test_without_validation_cases_every_fifth_is_held_out_or_the_last_weights_are_kept(data):
    files = [CaseFiles(f"case_{i}", "image", "labels") for i in range(11)]
    found = SegmentationRun("unused", SETTINGS, Dataset(files, ())).dataset
    assert [case.name for case in found.validation] == ["case_4", "case_9"]
    assert {case.name for case in found.training} == {f.name for f in files} - {"case_4", "case_9"}
    few = SegmentationRun("unused", SETTINGS, Dataset(files[:4], ()))
    assert (len(few.dataset.training), len(few.dataset.validation)) == (4, 0)
    assert few.loss_of({"step": 4, "loss": 2.0}) < few.loss_of({"step": 2, "loss": 1.0})


def test_minutes_become_steps_that_a_resume_finds(data, tmp_path):
    settings = of(data, steps=None, log_every=None, validate_every=None, minutes=0.2)
    told = []
    run = SegmentationRun(tmp_path, settings)
    run.train(introduce=told.append)
    assert run.finished
    words = [line.split()[0] for line in "\n".join(told).splitlines()[:4]]
    assert words == ["2", "network:", "planning", "plan:"]  # cases, then what is trained
    stored = SegmentationRun.read_settings(tmp_path)
    assert stored == run.settings
    assert (stored.minutes, stored.steps) == (0.2, run.step)
    assert rows_of(run)[-1]["val_dice"]
    again = SegmentationRun(tmp_path, settings)  # they agree, but for the plan
    assert again.settings == stored
    assert again.train() is None
    with pytest.raises(UserError, match="begun with other settings"):
        SegmentationRun(tmp_path, dataclasses.replace(settings, minutes=3.0))


def test_the_rate_falls_by_a_cosine_once_an_epoch():
    law = EpochCosine(0.5, steps=12, epoch_steps=3)
    rates = [float(to_numpy(law(step))) for step in range(12)]
    expected = [0.25 * (1 + math.cos(math.pi * (step // 3) / 4)) for step in range(12)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"spacing": "1,2"}, "spacing"), ({"validate_every": 5}, "multiple"), ({"steps": 0}, "steps"),
     ({"overlap": 1.0}, "overlap"), ({"weights": "a", "width": 4}, "cannot be set with weights"),
     ({"train": "most"}, "train: expected all, decoder, head or a number"),
     ({"train": "-1"}, "train: expected"), ({"backbone_rate": 1.5}, "backbone_rate"),
     ({"learning_rate": -1.0}, "learning_rate"), ({"learning_rate": math.nan}, "learning_rate"),
     ({"architecture": "vit"}, "architecture: expected one of"),
     ({"precision": "half"}, "precision: expected one of auto, float32"),
     ({"class_weights": "1,-1"}, "class_weights"), ({"class_weights": "a"}, "class_weights")],
)  # fmt: skip
def test_bad_settings_are_one_line(values, reason):
    with pytest.raises(UserError, match=reason):
        SegmentationSettings(**{"log_every": 2, "validate_every": 2, **values})


def test_a_decoder_starts_anew_where_another_task_taught_it(data, tmp_path):
    taught = UNet(width=2, levels=1, output_channels=3, seed=4)
    taught.save_to_preset(tmp_path / "preset")
    plain = of(data, width=0, levels=0, weights=str(tmp_path / "preset"))

    def kept(**changes):
        run = SegmentationRun(tmp_path / "run", dataclasses.replace(plain, **changes))
        pairs = zip(run.model().backbone.layers, taught.layers, strict=True)
        return {
            own.name.split("_")[0]
            for own, given in pairs
            if own.weights and np.array_equal(own.get_weights()[0], given.get_weights()[0])
        }

    encoder = {"stem", "encoder", "bottleneck"}
    assert kept() == encoder
    assert kept(keep="all") == kept(train="head") == encoder | {"decoder", "output"}


def test_a_run_becomes_a_preset_that_predicts_alike(unbroken, tmp_path):
    save_run_as_preset(unbroken.folder, tmp_path / "mine", {"licence": "MIT"})
    model, settings = load_run(unbroken.folder)
    again, told = load_run(tmp_path / "mine")
    image = unbroken.cases[1][0].image[None, ..., None]
    outputs = [to_numpy(m.predict_on_batch(image)) for m in (model, again)]
    np.testing.assert_allclose(*outputs, atol=1e-6)
    assert told == dataclasses.replace(settings, data=None)
    assert class_numbers(tmp_path / "mine") == (1, 2)
    card = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert "| classes | front, back |" in card
    assert "license: mit" in card
    assert str(unbroken.settings.data) not in "".join(
        path.read_text(encoding="utf-8") for path in (tmp_path / "mine").glob("*.toml")
    )
