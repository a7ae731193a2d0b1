import numpy as np
import pytest
import torch
from convexAdam.convex_adam_MIND import extract_features

from anyvox_keras.backend import to_numpy
from anyvox_keras.registration import FeatureSettings, image_features, masked_image, mind_ssc


def test_masked_mind_equals_convexadam(rng):
    image = rng.random((16, 14, 18)).astype("float32")
    mask = np.zeros(image.shape, "float32")
    mask[3:13, 2:11, 4:15] = 1
    cpu = torch.device("cpu")
    arguments = (torch.tensor(image), torch.tensor(image), 1, 2, True)
    masks = (torch.tensor(mask), torch.tensor(mask))
    theirs, _ = extract_features(*arguments, *masks, cpu, torch.float32)
    ours = to_numpy(mind_ssc(masked_image(image, mask)[None, ..., None]))[0]
    np.testing.assert_allclose(ours, theirs[0].permute(1, 2, 3, 0).numpy(), atol=1e-4)


def test_full_mask_changes_nothing_and_odd_shapes_work(rng):
    image = rng.random((7, 9, 8)).astype("float32")
    np.testing.assert_array_equal(masked_image(image, np.ones(image.shape)), image)


def test_what_lies_outside_does_not_matter(rng):
    image = rng.random((9, 9, 9)).astype("float32")
    mask = np.zeros(image.shape, bool)
    mask[2:7, 2:7, 2:7] = True
    other = np.where(mask, image, 1e6).astype("float32")
    np.testing.assert_array_equal(masked_image(image, mask), masked_image(other, mask))


def test_two_slices_are_repeated_outwards(rng):
    image = rng.random((8, 8, 8)).astype("float32")
    mask = np.zeros(image.shape, bool)
    mask[:, :, 3:5] = True
    image[~mask] = 1e6
    filled = masked_image(image, mask)
    for plane in range(8):
        np.testing.assert_array_equal(filled[..., plane], image[..., 3 if plane < 4 else 4])


def test_refuses_an_empty_mask():
    with pytest.raises(ValueError, match="mask"):
        masked_image(np.ones((4, 4, 4), "float32"), np.zeros((4, 4, 4)))


def test_features_do_not_depend_on_the_unit_of_the_intensities(rng):
    image = rng.random((8, 8, 8)).astype("float32")
    expected = to_numpy(image_features(image, None, None, FeatureSettings()))
    for factor in (2.0**-100, 2.0**100):  # whose squares float32 does not hold
        found = image_features(image * np.float32(factor), None, None, FeatureSettings())
        np.testing.assert_allclose(to_numpy(found), expected, atol=1e-6)
