"""Several channels of each image."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Volume
from anyvox_keras.io import save_volume
from anyvox_keras.registration import (
    AdamSettings,
    DeformSettings,
    FeatureSettings,
    Level,
    Registration,
    image_features,
    known_features,
    register,
)
from anyvox_keras.registration.pair_inputs import PairInputs, Placed

SHAPE = (16, 18, 14)


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(4)
    texture = gaussian_filter(rng.normal(size=(20, 22, 18)), 1.5).astype("float32")
    return np.ascontiguousarray(texture[2:-2, 2:-2, 2:-2]), np.ascontiguousarray(
        -texture[4:, 3:-1, 2:-2]
    )


@pytest.mark.parametrize("distance", ["squared", "chord"])
def test_a_channel_twice_is_the_channel_once(pair, distance):
    adam = AdamSettings(iterations=8, smoothness=2.0, distance=distance, correlation=0.5)
    settings = DeformSettings(levels=(Level(2, 2),), dilations=(2, 1), adam=adam)
    once = register(*pair, "mind", settings=settings)
    twice = register(*(np.stack([image, image], -1) for image in pair), "mind", settings=settings)
    np.testing.assert_allclose(twice.displacement, once.displacement, atol=2e-3)
    assert np.abs(once.displacement).max() > 1
    np.testing.assert_allclose(twice.moved_channels[..., 1], twice.moved, atol=0)


def test_features_of_channels_lie_side_by_side_the_fine_ones_last(rng):
    images = rng.random((2, 8, 8, 8)).astype("float32")
    settings = FeatureSettings(dilations=(2, 1))
    placed = Placed(images[0], None, None, ((images[1], None),))
    known = known_features((placed, placed), (False, False), (None, None), settings)
    found = to_numpy(known.features[0])
    one, two = (to_numpy(image_features(x, None, None, settings)) for x in images)
    expected = [one[..., :12], two[..., :12], one[..., 12:], two[..., 12:]]
    np.testing.assert_allclose(found, np.concatenate(expected, -1), atol=1e-6)
    assert known.images[0].shape == (1, 4, 4, 4, 2)


def test_every_channel_is_warped_from_its_own_grid(rng, tmp_path):
    first = gaussian_filter(rng.normal(size=SHAPE), 1.5).astype("float32")
    finer = np.diag([0.8, 0.8, 0.8, 1.0])
    second = gaussian_filter(rng.normal(size=(22, 24, 20)), 1.5).astype("float32")
    field = gaussian_filter(rng.normal(size=(*SHAPE, 3)), (3, 3, 3, 0)) * 8
    result = Registration(
        Volume(first, np.eye(4)), Volume(first, np.eye(4)), field,
        channels=([Volume(second, finer)], [Volume(second, finer)]),
    )  # fmt: skip
    result.save(tmp_path / "out")
    saved = nib.load(tmp_path / "out" / "moved.nii.gz").get_fdata()
    assert saved.shape == (*SHAPE, 2)
    save_volume(tmp_path / "second.nii.gz", second, Volume(second, finer))
    image = sitk.ReadImage(str(tmp_path / "second.nii.gz"))
    warp = sitk.ReadImage(str(tmp_path / "out" / "warp.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(sitk.Image(warp))
    theirs = sitk.GetArrayFromImage(sitk.Resample(image, warp, transform, sitk.sitkLinear, 0.0)).T
    middle = (slice(3, -3),) * 3
    np.testing.assert_allclose(saved[..., 1][middle], theirs[middle], atol=1e-3)
    np.testing.assert_allclose(saved[..., 0], result.moved, atol=1e-6)


def test_channels_of_other_grids_are_placed_by_the_world(rng):
    first = rng.random(SHAPE).astype("float32")
    ramp = np.add.outer(np.add.outer(np.arange(34.0), np.arange(38.0)), np.arange(30.0))
    channel = Volume(ramp.astype("float32"), np.diag([0.5, 0.5, 0.5, 1.0]))
    pair = PairInputs.read(first, first, fixed_channels=[channel], moving_channels=channel)
    placed = pair.placed(pair.images[0].grid, np.eye(4))[0]
    expected = 2 * np.indices(SHAPE).sum(0)  # voxels of half a millimetre
    np.testing.assert_allclose(placed.channels[0][0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fixed": np.random.rand(*SHAPE, 2)}, "one volume"),
        ({"fixed_channels": [np.random.rand(*SHAPE)]}, "one volume"),
        ({"fixed": np.random.rand(*SHAPE, 3), "moving": np.random.rand(*SHAPE, 2)}, "as many"),
        ({f"{side}_channels": [np.random.rand(5, 5, 5)] for side in ("fixed", "moving")}, "covers"),
        ({side: np.random.rand(*SHAPE, 17) for side in ("fixed", "moving")}, "at most 16"),
        ({side: np.ones((*SHAPE, 2)) for side in ("fixed", "moving")}, "varies"),
    ],
)
def test_channels_that_do_not_fit_are_one_line(pair, change, message):
    with pytest.raises(UserError, match=message) as caught:
        register(**{"fixed": pair[0], "moving": pair[1], **change})
    assert "\n" not in str(caught.value)
