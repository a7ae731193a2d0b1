"""Kill and resume: bit for bit, and across backends."""

import os
import signal
import subprocess
import sys
import textwrap

import h5py
import keras
import numpy as np
import pytest
from fake_stream import FakeStream
from own_networks import tiny_vit

from anyvox_keras.backend import to_numpy
from anyvox_keras.contrastive import ContrastivePretrainer, PretrainingRun, RunSettings
from anyvox_keras.errors import UserError
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.networks import UNet
from anyvox_keras.training import Checkpoint
from anyvox_keras.training.checkpoint import read_facts, sync_state
from anyvox_keras.training.progress import Clock

pytestmark = pytest.mark.slow

SETTINGS = dict(
    side=16, steps=8, width=2, levels=1, output_channels=4, samples=32, log_every=3,
    validate_every=3, validation_pairs=2, seed=3, learning_rate=1e-3, augmentation="off",
)  # fmt: skip


class FakeRun(PretrainingRun):
    """A run on pairs that cost nothing."""

    def streams(self):
        s = self.settings
        training = FakeStream(s.side, s.batch_size, s.seed, s.steps)
        if not s.validation_pairs:
            return training, None
        return training, FakeStream(s.side, 1, seed=99, steps=s.validation_pairs, fixed=True)


class KilledError(Exception):
    pass


def kill_at(run, step):
    """Train, saving after each step, until a fault right before the state is saved."""
    from anyvox_keras.training import checkpoint as module

    original = module.Checkpoint.save

    def save(self):
        if self.step > step:
            raise KilledError
        original(self)

    due = module.Checkpoint.due
    module.Checkpoint.save, module.Checkpoint.due = save, lambda self: True
    try:
        with pytest.raises(KilledError):
            run.train()
    finally:
        module.Checkpoint.save, module.Checkpoint.due = original, due


def arrays(folder):
    with h5py.File(folder / "state") as file:
        return {f"{g}/{k}": file[g][k][()] for g in ("model", "optimizer") for k in file[g]}


def test_a_loss_scale_goes_on_where_it_stood(tmp_path):
    """Loss scaling, which float16 needs, is one more optimizer around the given one.

    That one averages weights: where `fit` ends, Keras puts the averages in the weights' place.
    """

    def made():
        network = UNet(width=2, levels=1, output_channels=2, seed=0)
        model = ContrastivePretrainer(network, samples=16, width=4, augmentation=None)
        averaging = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
        model.compile(keras.optimizers.LossScaleOptimizer(averaging, 8.0, 2))
        stream = FakeStream(side=8, steps=3)
        model.bind(stream)
        return model, stream

    unbroken, stream = made()
    stream.steps = 6
    unbroken.fit(stream, verbose=0)
    model, stream = made()
    model.fit(stream, callbacks=[Checkpoint(tmp_path, stream)], verbose=0)
    scale = model.optimizer.dynamic_scale
    assert (float(scale), int(model.optimizer.step_counter)) == (16.0, 1)
    scale.assign(1.0)
    Checkpoint(tmp_path, stream).restore(model)
    assert float(scale) == 16.0
    model.fit(stream, verbose=0)
    for one, same in zip(unbroken.variables, model.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(same), err_msg=one.path)


def test_a_full_disk_is_told_before_training_and_nothing_is_left(tmp_path, full_disk):
    full_disk(2000)
    with pytest.raises(OSError, match="cannot be written"):
        FakeRun(tmp_path / "run", RunSettings(**SETTINGS)).train()
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anyvox_keras.training.progress.DRAWN_EVERY", 0.0)
        FakeRun(folder, RunSettings(**SETTINGS)).train()
    return folder


def assert_same_run(first, second):
    for name, array in arrays(first).items():
        np.testing.assert_array_equal(array, arrays(second)[name], err_msg=name)
    columns = [np.genfromtxt(f / "log.csv", delimiter=",", names=True) for f in (first, second)]
    names = [n for n in columns[0].dtype.names if n != "pairs_per_second"]
    for name in names:
        np.testing.assert_array_equal(columns[0][name], columns[1][name], err_msg=name)


def test_a_killed_run_ends_as_an_unbroken_one(unbroken, tmp_path):
    # Right after a row of the log, and again before the end; in the middle of a row is below.
    for step in (3, 7):
        kill_at(FakeRun(tmp_path, RunSettings(**SETTINGS)), step)
        assert read_facts(tmp_path / "state")["step"] == step
    FakeRun(tmp_path, RunSettings(**SETTINGS)).train()
    assert_same_run(unbroken, tmp_path)


# Elsewhere a ViT's programs take minutes to compile; ANYVOX_SLOW=1 runs them, as before a release.
eager = pytest.mark.skipif(
    keras.backend.backend() != "torch" and "ANYVOX_SLOW" not in os.environ,
    reason="compiles for minutes",
)


@pytest.mark.parametrize("kind", ["of one's own", pytest.param("ViT", marks=eager)])
def test_a_killed_run_of_any_model_ends_as_an_unbroken_one(kind, tmp_path):
    own = {"backbone": "own_networks:Written", "taps": ["deep", "output"], "validation_pairs": 1}
    if kind == "ViT":
        tiny_vit(seed=4).save_to_preset(tmp_path / "vit")
        own = {"weights": str(tmp_path / "vit"), "taps": ["tokenizer_conv", "output"]}
        own |= {"validation_pairs": 0}  # a program less to compile
    sizes = dict.fromkeys(("width", "levels", "output_channels"))
    settings = RunSettings(**SETTINGS | sizes | own | {"steps": 4})
    FakeRun(tmp_path / "whole", settings).train()
    kill_at(FakeRun(tmp_path / "killed", settings), 2)
    FakeRun(tmp_path / "killed", settings).train()
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    # What it leaves is a preset, whatever the class.
    volume = np.random.default_rng(1).random((16, 16, 16)).astype("float32")
    features = FeatureExtractor.from_preset(tmp_path / "killed")(volume)
    assert features.shape[:3] == (16, 16, 16)
    assert np.isfinite(features).all()


def begin_and_kill(folder, backend):
    """Train in a process of its own that saves after each step; it is killed at the sixth."""
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        import numpy as np
        from test_checkpoint import FakeRun, RunSettings, SETTINGS, features
        from anyvox_keras.training.checkpoint import Checkpoint
        folder = Path({str(folder)!r})
        Checkpoint.due = lambda self: True
        def kill(row):
            if row["step"] == 6:
                np.save(folder.parent / "features.npy", features(folder))
                os.kill(os.getpid(), signal.SIGKILL)
        FakeRun(folder, RunSettings(**SETTINGS)).train(report=kill)
    """)
    here = os.path.dirname(__file__)
    path = os.pathsep.join([os.path.dirname(os.path.dirname(here)), os.path.dirname(here), here])
    environment = {**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert read_facts(folder / "state")["step"] == 5


def features(folder):
    volume = np.random.default_rng(1).uniform(size=(1, 16, 16, 16, 1)).astype("float32")
    return to_numpy(UNet.from_preset(folder).predict_on_batch(volume))


def test_a_sigkilled_process_goes_on(unbroken, tmp_path):
    # The state is that of step 5, in the middle of a row of the log.
    begin_and_kill(tmp_path, keras.backend.backend())
    FakeRun(tmp_path, RunSettings(**SETTINGS)).train()
    assert_same_run(unbroken, tmp_path)


def test_a_run_killed_on_one_backend_goes_on_under_another(unbroken, tmp_path):
    folder, here = tmp_path / "run", keras.backend.backend()
    begin_and_kill(folder, "tensorflow" if here == "torch" else "torch")
    assert read_facts(folder / "state")["backend"] != here
    np.testing.assert_allclose(features(folder), np.load(tmp_path / "features.npy"), atol=1e-4)
    stored = arrays(folder)
    run = FakeRun(folder, RunSettings(**SETTINGS))
    model, (stream, _) = run.model(), run.streams()
    Checkpoint(folder, stream).restore(model)
    assert stream.position == 5
    assert int(model.optimizer.iterations) == 5
    for index, variable in enumerate(model.optimizer.variables):
        np.testing.assert_array_equal(to_numpy(variable), stored[f"optimizer/{index:05d}"])
    run.train()
    logs = [np.genfromtxt(f / "log.csv", delimiter=",", names=True) for f in (unbroken, folder)]
    np.testing.assert_array_equal(logs[0]["step"], logs[1]["step"])
    # Rows of 3 steps, 5 of the first 6 on the other backend: pairs and draws must be the same.
    np.testing.assert_allclose(logs[0]["loss"], logs[1]["loss"], rtol=1e-2)


def test_a_finished_run_is_left_alone(unbroken):
    before = (unbroken / "state").read_bytes()
    run = FakeRun(unbroken, RunSettings(**SETTINGS))
    assert run.finished
    assert run.train() is None
    assert (unbroken / "state").read_bytes() == before


def test_the_folder_holds_the_contracts_files(unbroken):
    names = {"config.toml", "log.csv", "last.weights.h5", "best.weights.h5", "state", "backbone"}
    assert {path.name for path in unbroken.iterdir()} == {*names, "progress.png"}
    backbone = UNet.from_preset(unbroken)
    run = FakeRun(unbroken, RunSettings(**SETTINGS))
    model = run.model()
    model.load_weights(unbroken / "last.weights.h5")
    for a, b in zip(model.backbone.weights, backbone.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
    rows = np.genfromtxt(unbroken / "log.csv", delimiter=",", names=True)
    assert rows["step"].tolist() == [3, 6, 8]
    assert read_facts(unbroken / "state")["best"] == pytest.approx(rows["val_loss"].min())


def test_other_settings_are_a_mistake(unbroken):
    with pytest.raises(UserError, match="begun with other settings"):
        FakeRun(unbroken, RunSettings(**{**SETTINGS, "seed": 4}))


def test_a_state_of_another_network_is_refused(unbroken, tmp_path):
    (tmp_path / "state").write_bytes((unbroken / "state").read_bytes())
    with pytest.raises(UserError, match=r"another model|has shape"):
        FakeRun(tmp_path, RunSettings(**{**SETTINGS, "width": 3, "steps": 9})).train()


def test_averaged_weights_are_what_is_saved_for_use(tmp_path):
    """The average of a step is half the one before and half the step's weights."""
    kernels = []

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            sync_state(self.model)
            kernels.append(to_numpy(self.model.backbone.get_layer("stem_conv").kernel).copy())

    class Recorded(FakeRun):
        def extras(self, checkpoint, validation):
            return [Record()]

    settings = {**SETTINGS, "steps": 4, "ema": 0.5, "validation_pairs": 0}
    Recorded(tmp_path, RunSettings(**settings)).train()
    expected = kernels[0]
    for kernel in kernels[1:]:
        expected = 0.5 * expected + 0.5 * kernel
    assert len(kernels) == 4
    saved = to_numpy(UNet.from_preset(tmp_path).get_layer("stem_conv").kernel)
    np.testing.assert_allclose(saved, expected, rtol=0, atol=1e-7)
    assert np.abs(saved - kernels[-1]).max() > 1e-5


@eager
def test_a_replanned_run_goes_on_from_its_weights(tmp_path, monkeypatch):
    """Not from their averages, which Keras puts in their place where `fit` ends."""
    plain = {**SETTINGS, "ema": 0.5, "schedule": "constant", "validation_pairs": 0}
    FakeRun(tmp_path / "whole", RunSettings(**plain)).train()
    fit, answers = FakeRun(tmp_path / "planned", RunSettings(**plain | {"steps": 5})), [8, None]
    monkeypatch.setattr(Clock, "replan", lambda *_: answers.pop(0))
    monkeypatch.setattr(fit, "planned", False)
    monkeypatch.setattr(fit, "_plan", lambda *_: None)
    fit.train()
    assert fit.settings.steps == 8
    for name, array in arrays(tmp_path / "whole").items():
        np.testing.assert_array_equal(array, arrays(tmp_path / "planned")[name], err_msg=name)


def test_patience_ends_a_run(tmp_path):
    settings = RunSettings(**{**SETTINGS, "steps": 40, "learning_rate": 0.0, "patience": 1})
    run = FakeRun(tmp_path, settings)
    run.train()
    assert run.finished
    assert run.step < 40


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_pair(tmp_path):
    class Broken(FakeRun):
        def model(self):
            model = super().model()
            kernel = model.backbone.get_layer("stem_conv").kernel
            kernel.assign(np.full(kernel.shape, np.nan, "float32"))
            return model

    with pytest.raises(FloatingPointError, match=r"loss is nan at pairs 0 to 0 of seed 3 \(keys"):
        Broken(tmp_path, RunSettings(**SETTINGS)).train()
    assert not (tmp_path / "state").exists()


def test_pictures_and_tensorboard_files_where_asked_for(tmp_path):
    more = {"pictures_every": 3, "tensorboard": True, "steps": 6}
    FakeRun(tmp_path, RunSettings(**{**SETTINGS, **more})).train()
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == ["features_0000003.png", "features_0000006.png"]
    assert list((tmp_path / "tensorboard").rglob("events.out.tfevents*"))
