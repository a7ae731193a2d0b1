"""The verdict on a registration, by measures that the search does not use."""

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from anyvox_keras.geometry import Volume
from anyvox_keras.registration import Quality, Registration
from anyvox_keras.registration.quality import BOUNDS, edge_percent, likeness
from anyvox_keras.registration.registration_page import WORDS

SHAPE = (24, 22, 20)


@pytest.fixture(scope="module")
def texture():
    rng = np.random.default_rng(1)
    return gaussian_filter(rng.normal(size=np.add(SHAPE, 8)), 1.5).astype("float32")


def _cut(texture, shift=0):
    return texture[tuple(slice(4 + shift, 4 + shift + n) for n in SHAPE)]


def _result(fixed, moving, step=0.0, **more):
    field = np.full((*SHAPE, 3), step, "float32")
    images = (Volume(np.ascontiguousarray(x), np.diag([2, 2, 2, 1.0])) for x in (fixed, moving))
    return Registration(*images, field, **more)


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_are_in_order(name):
    bound = BOUNDS[name]
    assert (bound.fail < bound.warn) == bound.low
    assert bound.of(bound.warn) == "PASS"
    middle = (bound.warn + bound.fail) / 2
    assert bound.of(middle) == "WARN"
    assert bound.of(bound.fail + (-1 if bound.low else 1)) == "FAIL"


def test_the_gravest_reason_decides_and_comes_first():
    found = Quality.judge({"folds_percent": 0.5, "overlap": 0.1, "information": 0.9, "other": -1.0})
    assert found.verdict == "FAIL"
    assert [reason.split()[0] for reason in found.reasons] == ["only", "0.50"]
    assert Quality.judge({"folds_percent": 0.0}).verdict == "PASS"


def test_alike_and_apart(texture):
    fixed, inside = _cut(texture), np.ones(SHAPE, bool)
    right = likeness(fixed, 1 - _cut(texture, 3), 1 - fixed, inside)
    assert right["information"] == pytest.approx(1, abs=0.1)
    assert right["information_gain"] > 0.5
    assert right["information_peak"] > 3
    assert right["correlation_peak"] > 3
    noise = np.random.default_rng(0).normal(size=SHAPE)
    wrong = likeness(fixed, noise, noise, inside)
    assert abs(wrong["information"]) < 0.01
    assert wrong["information_gain"] == pytest.approx(0, abs=0.5)
    assert wrong["correlation_peak"] < 1.2


def test_neither_hot_voxels_nor_a_factor_change_the_judgement(texture):
    fixed, inside = _cut(texture), np.ones(SHAPE, bool)
    start, end = 1 - _cut(texture, 3), 1 - fixed
    right = likeness(fixed, start, end, inside)
    hot = fixed.copy()
    hot[5, 6, 7] = hot[12, 11, 3] = 1e6
    for other in (hot, fixed * np.float32(2.0**-100), fixed * np.float32(2.0**100)):
        assert likeness(other, start, end, inside) == pytest.approx(right, rel=0.1)


def test_edge_of_the_range():
    field = np.zeros((4, 4, 4, 3))
    field[0, ..., 1] = -9.6
    assert edge_percent(field, 10) == 25
    assert edge_percent(field, 12) == 0


def test_a_good_result_passes_and_says_so_in_its_file(texture, tmp_path):
    result = _result(_cut(texture), 2 - _cut(texture, 2), -2.0)
    assert result.quality.verdict == "PASS", result.quality
    assert result.quality.measures["inverse_residual"] < 1e-3
    assert result.metrics["quality"]["verdict"] == "PASS"
    json.dumps(result.metrics)
    assert "PASS" in result.summary


def test_a_result_that_makes_it_worse_does_not_pass(texture):
    wrong = _result(_cut(texture), 2 - _cut(texture), 3.0)
    assert wrong.quality.verdict == "FAIL"
    assert wrong.quality.measures["information_gain"] < -0.5


def test_labels_landmarks_masks_and_reach_count(texture):
    moving = 2 - _cut(texture, 2)
    labels = np.zeros(SHAPE, "int32")
    labels[8:14, 8:14, 8:14] = 1
    maps = Volume(labels, np.diag([2, 2, 2, 1.0]))
    points = np.array([[20.0, 20, 20]])
    far = np.zeros(SHAPE, bool)
    far[:4] = True
    near = far[::-1]
    found = _result(
        _cut(texture), moving, -2.0, fixed_seg=maps, moving_seg=maps,
        landmarks=(points, points + 1.0), masks=(far, near), reach=4.0,
    ).quality  # fmt: skip
    assert found.verdict == "FAIL"
    said = " ".join(found.reasons)
    for word in ("labels", "landmarks", "masks", "--capture"):
        assert word in said


def test_each_measure_has_words_for_the_page():
    assert set(BOUNDS) - {"folds_percent"} <= set(WORDS)
