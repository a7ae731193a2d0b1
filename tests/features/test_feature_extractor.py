"""Feature extraction: shapes, files, normalisation."""

import nibabel as nib
import numpy as np
import pytest

from anyvox_keras.errors import UserError
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.networks import UNet


@pytest.fixture(scope="module")
def unet():
    return UNet(width=4, levels=2, output_channels=5, seed=0)


def test_array_image_file_and_batch_agree(unet, rng, tmp_path):
    array = rng.normal(100, 30, size=(13, 16, 10)).astype("float32")
    extractor = FeatureExtractor(unet)
    features = extractor(array)
    assert features.shape == (13, 16, 10, 5)
    assert features.dtype == "float32"
    image = nib.Nifti1Image(array, np.diag([2.0, 2, 2, 1]))
    nib.save(image, tmp_path / "image.nii.gz")
    for same in (image, tmp_path / "image.nii.gz", str(tmp_path / "image.nii.gz")):
        np.testing.assert_array_equal(extractor(same), features)
    batch = np.stack([array, 3 * array - 7])[..., None]
    both = extractor(batch)
    # Min-max normalisation makes them the same volume.
    np.testing.assert_allclose(both[0], features, atol=1e-5)
    np.testing.assert_allclose(both[1], features, atol=1e-3)


def test_clip_and_rescale_come_before_the_network(unet, rng):
    array = rng.uniform(-1000, 1000, size=(8, 8, 8)).astype("float32")
    clipped = np.clip(array, -450, 450)
    prepared = (clipped + 450) / 900
    plain = FeatureExtractor(unet, rescale=False)(prepared)
    np.testing.assert_allclose(FeatureExtractor(unet, clip=(-450, 450))(array), plain, atol=1e-5)


def test_per_voxel_norms(unet, rng):
    array = rng.normal(size=(8, 9, 8)).astype("float32")
    # A voxel whose ReLUs are all off has no direction to keep.
    alive = FeatureExtractor(unet)(array).any(-1)
    unit = FeatureExtractor(unet, norm="unit")(array)[alive]
    np.testing.assert_allclose(np.linalg.norm(unit, axis=-1), 1, atol=1e-5)
    standard = FeatureExtractor(unet, norm="standard")(array)[alive]
    np.testing.assert_allclose(standard.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(-1), 1, atol=1e-4)


def test_a_constant_volume_gives_finite_features(unet):
    assert np.isfinite(FeatureExtractor(unet)(np.full((8, 8, 8), 7.0))).all()


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.zeros((8, 8)), "must be \\(D, H, W\\) or"),
        (np.full((8, 8, 8), np.nan), "must be finite"),
        (np.ma.masked_equal(np.eye(8) * np.ones((8, 1, 1)), 0), "must not be masked"),
    ],
)
def test_an_unusable_array_is_refused(unet, volume, message):
    with pytest.raises(ValueError, match=message):
        FeatureExtractor(unet)(volume)


def test_a_large_offset_changes_nothing(unet):
    steps = np.random.default_rng(0).integers(0, 50, (8, 8, 8))
    expected = FeatureExtractor(unet)(steps)
    np.testing.assert_allclose(FeatureExtractor(unet)(steps + 2**30), expected, atol=1e-5)


def test_a_missing_file_is_a_users_mistake(unet):
    with pytest.raises(UserError):
        FeatureExtractor(unet)("absent.nii.gz")


def test_window_of_the_whole_volume_is_no_window(unet, rng):
    array = rng.normal(size=(12, 12, 12)).astype("float32")
    whole = FeatureExtractor(unet)(array)
    np.testing.assert_allclose(FeatureExtractor(unet, window=64)(array), whole, atol=1e-5)


def test_memory_asks_for_windows_where_the_volume_does_not_fit(unet, rng):
    extractor = FeatureExtractor(unet)
    assert extractor.within(1.0, (48, 48, 48)) is extractor
    # a voxel of this network takes 4 x 115 bytes: 48^3 of them do not fit, 32^3 do
    smaller = extractor.within(0.03, (48, 48, 48))
    assert smaller.window == (32, 32, 32)
    assert smaller.overlap == 0.5
    assert extractor.window is None
    volume = rng.random((48, 36, 40)).astype("float32")
    given = FeatureExtractor(unet, window=32, overlap=0.5)
    np.testing.assert_array_equal(smaller(volume), given(volume))
    assert given.within(1e-6, volume.shape) is given
    with pytest.raises(UserError, match="memory: expected at least"):
        extractor.within(0.001, (48, 48, 48))
