import numpy as np
import pytest
import torch
from convexAdam.convex_adam_utils import MINDSSC

from anyvox_keras.backend import compiled, to_numpy
from anyvox_keras.registration import mind_ssc


def _image(rng, *shape):
    return rng.random((*shape, 1)).astype("float32")


@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (2, 1)])
def test_equals_convexadam_channel_by_channel(rng, radius, dilation):
    image = _image(rng, 1, 12, 14, 11)
    theirs = MINDSSC(torch.tensor(image[..., 0])[None], radius, dilation, device="cpu")
    ours = to_numpy(mind_ssc(image, radius, dilation))
    np.testing.assert_allclose(ours[0], theirs[0].permute(1, 2, 3, 0).numpy(), atol=1e-5)


def test_compiled_equals_eager(rng):
    image = _image(rng, 1, 9, 8, 10)
    np.testing.assert_allclose(
        to_numpy(compiled(mind_ssc)(image)), to_numpy(mind_ssc(image)), atol=1e-5
    )


def test_batch_equals_each_sample_alone(rng):
    images = _image(rng, 2, 8, 8, 8) * np.array([1, 50], "float32").reshape(2, 1, 1, 1, 1)
    together = to_numpy(mind_ssc(images))
    alone = np.concatenate([to_numpy(mind_ssc(image[None])) for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_contrast_inverted_and_scaled_gives_the_same_descriptor(rng):
    image = _image(rng, 1, 10, 10, 10)
    np.testing.assert_allclose(
        to_numpy(mind_ssc(image)), to_numpy(mind_ssc(3 - 2 * image)), atol=2e-4
    )


def test_constant_image_is_finite():
    assert np.isfinite(to_numpy(mind_ssc(np.full((1, 8, 8, 8, 1), 7, "float32")))).all()


def test_refuses_channels_and_sizes():
    with pytest.raises(ValueError, match=r"\(B, D, H, W, 1\)"):
        mind_ssc(np.zeros((1, 8, 8, 8, 2), "float32"))
    with pytest.raises(ValueError, match="radius"):
        mind_ssc(np.zeros((1, 8, 8, 8, 1), "float32"), radius=0)


@pytest.mark.parametrize("value", [1e2, 1e4, 1e6])
def test_one_extreme_voxel_changes_only_its_neighbourhood(rng, value):
    image = _image(rng, 1, 20, 20, 20)
    bright = image.copy()
    bright[0, 2, 2, 2] = value
    changed = np.abs(to_numpy(mind_ssc(bright)) - to_numpy(mind_ssc(image))).max(-1)[0]
    assert changed[:6, :6, :6].max() > 0.1
    changed[:6, :6, :6] = 0
    assert changed.max() < 1e-5
