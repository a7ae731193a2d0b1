"""A few hot voxels tell nothing of the others."""

import numpy as np
import pytest

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import min_max, of_moderate_range, without_hot_voxels
from anyvox_keras.registration.pair_inputs import PairInputs


@pytest.mark.parametrize("value", [1e2, 1e4, -1e6])
@pytest.mark.parametrize("count", [1, 5])
def test_hot_voxels_become_the_largest_of_the_others(rng, value, count):
    image = rng.random((12, 12, 12)).astype("float32")
    hot = image.copy()
    hot.reshape(-1)[:count] = value
    others = image.reshape(-1)[count:]
    expected = image.copy()
    expected.reshape(-1)[:count] = others.max() if value > 0 else others.min()
    np.testing.assert_array_equal(without_hot_voxels(hot), expected)
    np.testing.assert_array_equal(min_max(hot), min_max(expected))
    pair = PairInputs.read(hot, image)
    np.testing.assert_array_equal(pair.compared[0].array, expected)
    np.testing.assert_array_equal(pair.images[0].array, hot)  # what is moved keeps them


def test_other_images_stay_as_they_are(rng):
    for image in (
        rng.normal(size=(10, 10, 10)),
        rng.exponential(size=(10, 10, 10)) ** 2,
        (rng.random((10, 10, 10)) < 0.001) * 1e6,  # mostly background: no range to speak of
        np.zeros((3, 3, 3)),
    ):
        assert without_hot_voxels(image) is image


def test_limits_beyond_all_values_are_refused(rng):
    image = rng.random((6, 6, 6)).astype("float32")
    for clip in ((1000, 2000), (-5, -1), (3,)):
        with pytest.raises(UserError, match="fixed clip"):
            PairInputs.read(image, image, fixed_clip=clip)


def test_extreme_ranges_are_scaled_by_a_power_of_two(rng):
    image = rng.normal(size=(6, 6, 6)).astype("float32")
    for factor in (2.0**-100, 2.0**100):
        found = of_moderate_range(image * np.float32(factor))
        ratio = found / image
        assert 0.1 < np.ptp(found) < 10
        np.testing.assert_array_equal(ratio, ratio[0, 0, 0])
    for usual in (image, 1e6 * image, np.full((3, 3, 3), 1e-30)):
        assert of_moderate_range(usual) is usual
