"""`anyvox pretrain`: begin, refuse, resume, begin anew."""

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from own_networks import plain_unet

from anyvox_keras.backend import to_numpy
from anyvox_keras.cli import main
from anyvox_keras.contrastive.pretraining_run import PretrainingRun
from anyvox_keras.contrastive.run_settings import RunSettings
from anyvox_keras.errors import UserError
from anyvox_keras.io import prepare_folder
from anyvox_keras.networks import UNet

CONFIG = """
shapes = 4
width = 2
levels = 1
samples = 16
log_every = 1
validate_every = 1
validation_pairs = 0
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The command on a tiny network; training itself is recorded, not done."""
    from anyvox_keras.contrastive import pretraining_run

    trained = []

    def train(self, report=None, verbose=0, introduce=None):
        trained.append(self.settings)
        prepare_folder(self.folder)
        self.begin()
        report({"step": 1, "loss": 1.5, "pairs_per_second": 2.0})

    monkeypatch.setattr(pretraining_run.PretrainingRun, "train", train)
    (tmp_path / "config.toml").write_text(CONFIG)

    def command(*more):
        words = ["--out", tmp_path / "run", *more]
        return main(["pretrain", *map(str, words)])

    return command, trained, tmp_path


def refused(capsys, reason):
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert reason in lines[0]
    return True


def test_flags_go_before_the_config(run, capsys):
    command, trained, folder = run
    (folder / "config.toml").write_text(CONFIG + "side = 32\nseed = 5\n")
    assert command("--config", folder / "config.toml", "--side", "16", "--steps", "3") == 0
    settings = trained[0]
    assert (settings.side, settings.seed, settings.steps, settings.width) == (16, 5, 3, 2)
    assert "loss 1.5" in capsys.readouterr().out


def test_a_run_is_resumed_only_when_asked(run, capsys):
    command, trained, _ = run
    assert command("--steps", "3", "--resume") == 0  # of none: starts
    assert command("--steps", "3") == 2
    assert refused(capsys, "--resume")
    assert command("--resume") == 0  # what is not given is the run's
    assert trained[0] == trained[1]
    assert command("--steps", "4", "--resume") == 2
    assert refused(capsys, "the run was begun with 3, received 4")
    assert command("--steps", "4", "--overwrite") == 0
    assert trained[-1].steps == 4


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("nonsense = 1", "unknown key"),
        ("side = 'a'", "side"),
        ("side = 32\ncrop = 33", "crop: expected at most side (32), received 33"),
        ("=", "TOML"),
        (None, "cannot be read"),
    ],
)
def test_bad_config_is_one_line(run, capsys, config, reason):
    command, trained, folder = run
    path = folder / "bad.toml"
    if config is not None:
        path.write_text(config)
    assert command("--config", path) == 2
    assert refused(capsys, reason)
    assert not trained


def test_folder_that_cannot_be_written_is_one_line(run, capsys):
    command, _, folder = run
    (folder / "run").write_text("")
    assert command() == 2
    assert refused(capsys, "cannot be written")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--architecture", "anatmix"], "architecture: expected one of"),
        (["--taps", "nonsense"], "nonsense"),
        (["--tap-weights", "1,nan"], "tap_weights: expected a finite number"),
        (["--templates", "nowhere"], "nowhere"),
        (["--weights", "nowhere"], "nowhere"),
        (["--weights", "a", "--backbone", "b:c"], "weights, backbone: expected one of them"),
        (["--backbone", "own_networks"], "backbone: expected MODULE:FUNCTION"),
        (["--backbone", "own_networks:absent"], "own_networks:absent cannot be called"),
        (["--backbone", "own_networks:up"], "to return a Keras model, received UpSampling3D"),
        (
            ["--backbone", "own_networks:tiny_vit", "--side", "24"],
            "side: expected the network's, (16, 16, 16), received 24",
        ),
        (["--architecture", "anatomix-dev-vit", "--levels", "2"], "levels: cannot be set with"),
        (["--temperature", "nan"], "temperature: expected a finite number"),
    ],
)
def test_a_refused_setting_leaves_all_as_it_was(tmp_path, capsys, monkeypatch, words, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(CONFIG.replace("width = 2\nlevels = 1\n", ""))
    command = ["pretrain", "--out", "run", "--config", "run.toml", "--side", "16"]
    assert main([*command, *words]) == 2
    assert refused(capsys, reason)
    assert not Path("run").exists()
    Path("run").mkdir()
    for name in ("config.toml", "log.csv"):
        Path("run", name).write_text("")
    assert main([*command, *words, "--overwrite"]) == 2
    assert {path.name for path in Path("run").iterdir()} == {"config.toml", "log.csv"}


def test_a_stage_starts_from_the_weights_of_another(tmp_path):
    backbone = UNet(width=2, levels=1, output_channels=3, seed=4)
    backbone.save_to_preset(tmp_path / "first")
    settings = RunSettings(weights=str(tmp_path / "first"), shapes=4, side=16, seed=9)
    start = PretrainingRun(tmp_path / "second", settings).model().backbone
    for own, given in zip(start.weights, backbone.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(own), to_numpy(given))
    with pytest.raises(UserError, match="width: cannot be set with weights"):
        dataclasses.replace(settings, width=4)


def test_a_run_may_begin_with_any_network(tmp_path):
    plain_unet().save(tmp_path / "own.keras")
    for own, kind in (
        ({"weights": str(tmp_path / "own.keras")}, "Functional"),
        ({"backbone": "own_networks:Written"}, "Written"),
        ({"architecture": "anatomix-dev-vit", "width": 2, "output_channels": 4}, "ViT"),
    ):
        settings = RunSettings(shapes=4, side=16, seed=9, **own)
        model = PretrainingRun(tmp_path / kind, settings).model()
        assert type(model.backbone).__name__ == kind
    # The architecture's windows are the run's cubes.
    assert (model.backbone.side, model.backbone.depth) == (16, 12)


def test_shapes_may_come_from_several_places(tmp_path):
    labels = np.zeros((20, 20, 20), "int16")
    labels[4:9, 4:12, 4:16] = 3
    (tmp_path / "maps").mkdir()
    nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / "maps" / "head.nii.gz")
    settings = RunSettings(templates=("geometric", str(tmp_path / "maps")), shapes=4, side=16)
    stream, _ = PretrainingRun(tmp_path / "run", settings).streams()
    assert len(stream.bank) == 5


# Compiles the synthesis where the backend compiles.
@pytest.mark.slow
def test_the_command_prints_the_network_the_pipeline_and_the_speed(tmp_path, capsys):
    (tmp_path / "config.toml").write_text(CONFIG + "side = 16\nsteps = 1\n")
    words = ["--out", tmp_path / "run", "--config", tmp_path / "config.toml"]
    assert main(["pretrain", *map(str, words)]) == 0
    out = capsys.readouterr().out
    for told in (
        "parameters, width 2, levels 1",
        "taps: encoder_1_2_conv",
        "GaussianMixture",
        "Train-time augmentation",
        "pairs_per_second",
    ):
        assert told in out
