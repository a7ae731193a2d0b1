"""One seed is one data set: over batches, processes, backends, eager and compiled."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from synthesis.pair_arrays import pair_arrays

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy

SIDE, COUNT = 32, 4
NEXT = {"tensorflow": "torch", "torch": "jax", "jax": "tensorflow"}
BANK = avx.TemplateBank.geometric(count=40, side=SIDE)


def stream(**options):
    return avx.SyntheticStream(BANK, side=SIDE, seed=5, **options)


@pytest.fixture(scope="module")
def pairs():
    return pair_arrays(SIDE, COUNT)


def test_a_seed_gives_what_it_gave_in_the_first_version(pairs):
    """Label maps to the bit, images to the rounding in which backends and processors differ."""
    assert zlib.crc32(pairs["label_map"].astype("<i4").tobytes()) == 0x33368740
    means = {"view1": (0.38582, 0.2296, 0.34828, 0.26145),
             "view2": (0.19894, 0.45113, 0.36787, 0.27791)}  # fmt: skip
    voxels = {"view1": (0.40441, 0.0031, 0.18153, 0.03994),
              "view2": (0.36287, 0.55398, 0.545, 0.14972)}  # fmt: skip
    for name, mean in means.items():
        np.testing.assert_allclose(pairs[name].mean((1, 2, 3, 4)), mean, atol=1e-4)
        np.testing.assert_allclose(pairs[name][:, 16, 16, 16, 0], voxels[name], atol=1e-4)


def in_other_process(folder: Path, backend: str) -> dict[str, np.ndarray]:
    environment = {**os.environ, "KERAS_BACKEND": backend}
    script = Path(__file__).with_name("pair_arrays.py")
    command = [sys.executable, str(script), str(folder / "pairs.npz"), str(SIDE), str(COUNT)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    return dict(np.load(folder / "pairs.npz"))


def assert_same_volumes(a, b):
    """The stated bounds of one seed on different backends."""
    assert np.mean(a["label_map"] == b["label_map"]) >= 0.9999
    for view in ("view1", "view2"):
        difference = np.abs(a[view] - b[view])
        assert np.mean(difference <= 1e-3) >= 0.999
        assert difference.mean() <= 1e-4


def test_pairs_have_the_stated_form(pairs):
    assert pairs["label_map"].shape == (COUNT, SIDE, SIDE, SIDE)
    assert pairs["label_map"].dtype == np.int32
    assert len(np.unique(pairs["label_map"])) > 10
    for view in (pairs["view1"], pairs["view2"]):
        assert view.shape == (COUNT, SIDE, SIDE, SIDE, 1)
        assert view.dtype == np.float32
        assert view.min() == 0
        assert view.max() == 1
    assert np.abs(pairs["view1"] - pairs["view2"]).mean() > 0.02


def test_same_volumes_on_another_backend(pairs, tmp_path):
    # Each of the three processes compares with the next: together all pairs of backends.
    assert_same_volumes(pairs, in_other_process(tmp_path, NEXT[keras.config.backend()]))


def test_same_volumes_eager_and_compiled(pairs):
    assert_same_volumes(pairs, pair_arrays(SIDE, COUNT, eager=True))


def test_same_bytes_in_another_process(pairs, tmp_path):
    other = in_other_process(tmp_path, keras.config.backend())
    for name, array in pairs.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_same_bytes_in_any_batch(pairs, batch_size):
    batches = list(stream(batch_size=batch_size).arrays(count=-(-COUNT // batch_size)))
    for name, array in pairs.items():
        parts = np.concatenate([batch[name] for batch in batches])[:COUNT]
        np.testing.assert_array_equal(parts, array, err_msg=name)


def test_packed_shapes_give_the_same_bytes(pairs):
    packed = stream(batch_size=COUNT, device_budget=0)
    assert set(packed[0][0]) == {"keys", "words", "offsets", "sizes"}
    for name, array in next(packed.arrays()).items():
        np.testing.assert_array_equal(array, pairs[name], err_msg=name)


def test_the_stream_hands_over_integers_only():
    (batch,) = stream(batch_size=2)[0]
    assert set(batch) == {"keys", "templates"}
    assert all(array.dtype == np.int32 for array in batch.values())
    assert sum(array.nbytes for array in batch.values()) < 1000


def test_seek_and_epochs_walk_one_sequence():
    walked = stream(batch_size=2, steps=3)
    walked.on_epoch_end()  # `fit` does so before it begins, too: nothing has been read
    walked.on_epoch_begin()
    first = [walked[i][0]["keys"] for i in range(len(walked))]
    walked.on_epoch_end()
    second = walked[0][0]["keys"]
    assert walked.position == 6
    whole = avx.random.keys_for(5, range(8), "train")
    np.testing.assert_array_equal(np.concatenate([*first, second]), whole)
    sought = stream(batch_size=2)
    sought.seek(6)
    np.testing.assert_array_equal(sought[0][0]["keys"], second)


def test_a_fixed_stream_repeats_and_splits_differ():
    fixed = stream(fixed=True, split="validation")
    before = fixed[0][0]["keys"]
    fixed.on_epoch_end()
    np.testing.assert_array_equal(before, fixed[0][0]["keys"])
    assert (before != stream()[0][0]["keys"]).any()


def test_a_resident_bank_is_not_saved(tmp_path):
    layer = stream().layer
    assert not any("words" in variable.path for variable in layer.trainable_variables)
    clone = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    batch = stream(device_budget=0)[0][0]
    for name, array in clone(batch).items():
        np.testing.assert_array_equal(to_numpy(array), next(stream().arrays())[name])


@pytest.mark.parametrize("device_budget", [0, 2**30])
def test_a_bank_on_disk_gives_the_same_bytes(pairs, tmp_path, device_budget):
    BANK.save(tmp_path / "shapes.bank")
    opened = avx.TemplateBank.open(tmp_path / "shapes.bank")
    on_disk = avx.SyntheticStream(opened, side=SIDE, seed=5, device_budget=device_budget)
    assert on_disk.resident == (device_budget > 0)
    for name, array in next(on_disk.arrays()).items():
        np.testing.assert_array_equal(array, pairs[name][:1])


def test_all_labels_of_many_templates_are_told_apart():
    many = avx.SyntheticStream(BANK, side=SIDE, labels=avx.LabelEnsemble(SIDE, count=(70, 80)))
    assert many.layer.views.appearance.mixture.labels == many.classes == 81


def test_the_whole_pipeline_is_described():
    text = stream(labels=avx.LabelEnsemble(SIDE, count=(3, 6), foreground=0.5)).describe()
    for part in ("3 to 5", "U(0.5, 1.5)", "0.5", "0.25", "radius 12 to 17", "GaussianMixture"):
        assert part in text


def test_held_out_pairs_are_new_and_cost_no_second_layer():
    training = stream(steps=50)
    held_out = training.held_out(steps=8)
    assert held_out.layer is training.layer
    assert (len(held_out), len(training)) == (8, 50)
    assert (held_out[0][0]["keys"] != training[0][0]["keys"]).any()
    held_out.on_epoch_end()
    assert held_out.position == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be >= 1"),
        ({"steps": 0}, "`steps` must be >= 1"),
        ({"labels": avx.LabelEnsemble(64)}, "`labels` must have side 32"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        stream(**options)


def test_a_side_below_16_is_an_error():
    with pytest.raises(ValueError, match="`side` must be in"):
        avx.SyntheticStream(BANK, side=8)
