"""Measures against SimpleITK and MONAI."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage

from anyvox_keras.metrics import (
    dice,
    folds_percent,
    hd95,
    jacobian,
    mean_dice,
    sd_log_jacobian,
    target_registration_error,
)


@pytest.fixture
def maps(rng):
    """Two label maps of four smooth shapes that overlap in part."""
    noise = ndimage.gaussian_filter(rng.normal(size=(2, 18, 20, 22)), (0, 3, 3, 3))
    noise[1] = 0.7 * noise[0] + 0.3 * noise[1]
    edges = np.quantile(noise[0], [0.5, 0.7, 0.9])
    return np.digitize(noise, edges).astype("int32")


def image(array, spacing=(1.0, 1.0, 1.0)):
    result = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    result.SetSpacing(spacing)
    return result


def test_dice_equals_sitk(maps):
    measure = sitk.LabelOverlapMeasuresImageFilter()
    measure.Execute(image(maps[0]), image(maps[1]))
    ours = dice(*maps)
    assert list(ours) == [1, 2, 3]
    for label, value in ours.items():
        assert value == pytest.approx(measure.GetDiceCoefficient(label), abs=1e-12)
    assert mean_dice(*maps) == pytest.approx(np.mean(list(ours.values())))


def test_dice_of_absent_labels(maps):
    assert np.isnan(dice(*maps, labels=[9])[9])
    assert dice(maps[0], np.zeros_like(maps[0]), labels=[1]) == {1: 0.0}
    assert mean_dice(maps[0], maps[0], labels=[1, 9]) == 1.0
    assert np.isnan(mean_dice(*maps, labels=[9]))


def test_dice_refuses_what_is_no_label_map(maps):
    with pytest.raises(ValueError, match="integer"):
        dice(maps[0], maps[1].astype(float))
    with pytest.raises(ValueError, match="shape"):
        dice(maps[0], maps[1][1:])


SPACING = (1.0, 1.5, 2.5)


def test_hd95_equals_monai(maps):
    for label, value in hd95(*maps, spacing=SPACING).items():
        a, b = (torch.tensor(x == label)[None, None] for x in maps)
        theirs = compute_hausdorff_distance(a, b, percentile=95, spacing=SPACING)
        assert value == pytest.approx(float(theirs), rel=1e-4)


def test_hausdorff_of_separate_shapes_equals_sitk():
    # of shapes that do not meet, where distances of voxels and of surfaces agree
    a, b = np.zeros((2, 20, 20, 20), "uint8")
    a[2:6, 3:9, 4:8] = 1
    b[9:15, 12:15, 2:17] = 1
    measure = sitk.HausdorffDistanceImageFilter()
    measure.Execute(image(a, SPACING), image(b, SPACING))
    ours = hd95(a, b, spacing=SPACING, percentile=100)[1]
    assert ours == pytest.approx(measure.GetHausdorffDistance(), rel=1e-5)


def test_hd95_of_one_shape_is_zero_and_of_absent_ones_is_not_a_number(maps):
    assert hd95(maps[0], maps[0]) == {1: 0.0, 2: 0.0, 3: 0.0}
    assert np.isinf(hd95(maps[0], np.zeros_like(maps[0]), labels=[1])[1])
    assert np.isnan(hd95(*maps, labels=[9])[9])


def test_hd95_of_a_shift_is_the_shift():
    a = np.zeros((16, 16, 16), int)
    a[4:8, 4:8, 4:8] = 1
    shifted = np.roll(a, 3, axis=1)
    assert hd95(a, shifted, spacing=(9, 2, 9)) == {1: 6.0}


def wave(amplitude):
    """A smooth displacement (16, 16, 16, 3) in voxels."""
    grid = np.stack(np.meshgrid(*3 * [np.arange(16.0)], indexing="ij"), -1)
    return (amplitude * np.sin(grid[..., [1, 2, 0]] / 2.5 + grid / 4)).astype("float32")


def test_jacobian_equals_sitk_inside():
    field = sitk.GetImageFromArray(wave(1.0).transpose(2, 1, 0, 3).astype("float64"), True)
    theirs = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field)).T
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(jacobian(wave(1.0))[inner], theirs[inner], atol=1e-4)


def test_folds_are_the_share_of_negative_jacobians():
    assert folds_percent(wave(0.3)) == 0.0
    mirrored = np.zeros((8, 8, 8, 3), "float32")
    mirrored[..., 0] = -2 * np.arange(8)[:, None, None]
    assert folds_percent(mirrored) == 100.0
    field = wave(4.0)
    assert folds_percent(field) == pytest.approx(100 * (jacobian(field) <= 0).mean())
    assert 0 < folds_percent(field) < 100


def test_log_jacobian_of_a_scaling_has_no_spread():
    grid = np.stack(np.meshgrid(*3 * [np.arange(8.0)], indexing="ij"), -1)
    assert sd_log_jacobian(0.5 * grid) == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(jacobian(0.5 * grid), 1.5**3, rtol=1e-5)
    assert sd_log_jacobian(wave(0.5)) == pytest.approx(np.log(jacobian(wave(0.5))).std(), rel=1e-5)


def test_mask_limits_what_counts():
    mask = np.zeros((16, 16, 16), bool)
    mask[4:9, 4:9, 4:9] = True
    field = wave(4.0)
    expected = 100 * (jacobian(field)[mask] <= 0).mean()
    assert folds_percent(field, mask) == pytest.approx(expected)
    with pytest.raises(ValueError, match="mask"):
        folds_percent(field, mask[1:])
    with pytest.raises(ValueError, match="mask"):
        folds_percent(field, 0 * mask)


def test_target_registration_error_is_the_mean_distance(rng):
    a, b = rng.normal(size=(2, 9, 3))
    expected = np.sqrt(((a - b) ** 2).sum(1)).mean()
    assert target_registration_error(a, b) == pytest.approx(expected)
    with pytest.raises(ValueError, match="N, 3"):
        target_registration_error(a, b[1:])
