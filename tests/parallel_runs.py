"""Runs on two devices and on one, compared; a program, for a framework splits its CPU only once.

PyTorch runs it twice at once, a process for each device; the others can be run so, too.
"""

import contextlib
import os
import sys
from pathlib import Path

import keras
import numpy as np
from fake_stream import FakeStream
from keras import ops
from segmentation.made_data import made_folder, made_pair, write

from anyvox_keras.backend import NAME, agreed, on_devices, peers, process_shard
from anyvox_keras.segmentation import SegmentationRun, SegmentationSettings
from anyvox_keras.training import Checkpoint
from anyvox_keras.training.checkpoint import sync_state
from anyvox_keras.voxelmorph import VoxelMorphRun, voxelmorph_run
from anyvox_keras.voxelmorph.voxelmorph_settings import VoxelMorphSettings

COMMON = dict(steps=4, side=16, batch_size=2, log_every=1, seed=3, precision="float32")
FIRST = 2


class KeepFirst(keras.callbacks.Callback):
    """Keeps the weights of the first step, whose change is the gradient."""

    weights = None

    def on_train_batch_end(self, batch, logs=None):
        if self.weights is None:
            sync_state(self.model)
            self.weights = weights(self.model)


class Descent:
    """Plain descent: Adam's first steps are signs, which make much of a rounding near 0."""

    def extras(self, checkpoint, validation):
        self.kept = KeepFirst()
        return [*super().extras(checkpoint, validation), self.kept]

    def compile(self, model):
        super().compile(model)
        model.compile(keras.optimizers.SGD(0.05), loss=model.loss)

    def streams(self):
        stream, validation = super().streams()
        self.asked, batch = [], stream.batch

        def noted(samples):
            self.asked += samples
            return batch(samples)

        stream.batch = noted
        return stream, validation


class Segmentation(Descent, SegmentationRun):
    """Classes have weights, so that a sample weighs by what it holds of them."""

    def __init__(self, folder, **options):
        settings = SegmentationSettings(
            data=str(folder.parent / "data"), weights="scratch", width=2, levels=1, balanced=True,
            architecture="anyvox-base", augmentation="none", class_weights=(0.2, 1.0, 3.0),
            validate_every=2, **COMMON,
        )  # fmt: skip
        super().__init__(folder, settings, **options)


class Stream(FakeStream):
    """In the place of the `SyntheticStream`, whose graph takes long to compile."""

    def __init__(self, bank, side, batch_size, seed, steps, fixed=False):
        super().__init__(side, batch_size, seed, steps, fixed)
        self.classes = 8

    def held_out(self, steps):
        return Stream(None, self.layer.side, self.batch_size, self.seed + 1, steps, fixed=True)


class VoxelMorph(Descent, VoxelMorphRun):
    """Pairs of scans with masks, by which a pair weighs more or less, and synthetic ones."""

    def __init__(self, folder, **options):
        settings = VoxelMorphSettings(
            data=str(folder.parent / "data" / "scans.csv"), loss="ncc", encoder=(2,),
            decoder=(2, 2), integration=1, flow_stride=2, validation_pairs=2, validate_every=2,
            **COMMON,
        )  # fmt: skip
        super().__init__(folder, settings, **options)


def write_data(kind, folder):
    made_folder(folder)
    if kind is VoxelMorph:
        rows = ["image,mask"]
        for seed in range(3):
            mask = np.zeros(made_pair(seed)[1].shape, "uint8")
            mask[: 5 + 3 * seed] = 1
            write(folder / f"mask_{seed}.nii.gz", mask, np.eye(4))
            write(folder / f"scan_{seed}.nii.gz", made_pair(seed)[0], np.eye(4))
            rows.append(f"scan_{seed}.nii.gz,mask_{seed}.nii.gz")
        (folder / "scans.csv").write_text("\n".join(rows))


class StoppedError(Exception):
    """Ends a run in the middle, after a checkpoint."""


def stop(row):
    if row["step"] == FIRST + 1:
        raise StoppedError


def weights(model):
    return np.concatenate([ops.convert_to_numpy(w).ravel() for w in model.trainable_weights])


def losses(run):
    rows = np.genfromtxt(run.folder / "log.csv", delimiter=",", names=True)
    return rows["loss"], rows["val_loss"]


def assert_moved_alike(found, expected, start, share):
    np.testing.assert_allclose(found, expected, rtol=0, atol=share * np.abs(expected - start).max())


def check(two, kind):
    """Go on with a run of two devices on one, and compare with one that had no other."""
    assert two.step == FIRST
    resumed = kind(two.folder)
    found = weights(resumed.train())
    one = kind(two.folder.with_name("one"))
    expected = weights(one.train())
    for ours, theirs in zip(losses(resumed), losses(one), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    start = weights(kind(two.folder.with_name("new")).model())
    assert_moved_alike(two.kept.weights, one.kept.weights, start, 1e-5)
    # A rounding that turns one voxel's activation off, or on, shows in the steps behind it.
    assert_moved_alike(found, expected, start, 0.02)
    print(kind.__name__, "alike")


if __name__ == "__main__":
    runs, folder = [], Path(sys.argv[1])
    voxelmorph_run.SyntheticStream = Stream
    Checkpoint.due = lambda self: True
    process_shard()  # as the command asks first; a CPU of JAX can be split all the same
    with on_devices(2):
        index, parts = peers()
        for kind in (Segmentation, VoxelMorph):
            place = folder / kind.__name__
            if index == 0:
                write_data(kind, place / "data")
            agreed(None)
            runs.append(kind(place / "two", devices=2))
            with contextlib.suppress(StoppedError):
                runs[-1].train(stop)
            whole = parts == 1 or NAME == "tensorflow"  # whose strategy drops others' samples
            own = {sample for sample in range(6) if whole or sample % 2 == index}
            assert own <= set(runs[-1].asked) <= own | {6, 7}, runs[-1].asked
    if index:
        sys.exit()
    for name in ("RANK", "WORLD_SIZE", "TF_CONFIG"):  # from here on it is a process like others
        os.environ.pop(name, None)
    for two in runs:
        check(two, type(two))
