"""Instance optimisation finds a shift that nobody trained for."""

import keras
import numpy as np
from scipy import ndimage

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.ops import warp
from anyvox_keras.registration import LocalNCCLoss
from anyvox_keras.voxelmorph import refine

NOISE = np.random.default_rng(0).normal(size=(24, 24, 24))
FIXED = ndimage.gaussian_filter(NOISE, 2, mode="wrap").astype("float32")[None, ..., None] * 8
SHIFT = (0.0, 1.5, -1.0)


def test_finds_a_translation():
    moving = ndimage.shift(FIXED[0, ..., 0], SHIFT, order=3, mode="grid-wrap")[None, ..., None]
    model = avx.VoxelMorph(
        encoder=(4, 4), decoder=(4, 4, 4), flow_stride=2, conventions="0.2", seed=0
    )
    before = [np.copy(w) for w in model.get_weights()]
    loss = keras.losses.MeanSquaredError()
    displacement, moved = refine(model, FIXED, moving, loss, iterations=60)
    inner = (0, *[slice(6, -6)] * 3)
    # What was shifted by s is read at x + s.
    found = np.median(displacement[inner], axis=(0, 1, 2))
    np.testing.assert_allclose(found, SHIFT, atol=0.15)
    same = to_numpy(warp(moving, displacement, outside="edge"))
    np.testing.assert_allclose(moved, same, atol=1e-5)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_any_loss_and_size():
    fixed, moving = np.random.default_rng(0).random((2, 1, 11, 9, 10, 1), "float32")
    model = avx.VoxelMorph(encoder=(4,), decoder=(4, 4), seed=0)
    displacement, _ = refine(model, fixed, moving, LocalNCCLoss(5), iterations=2)
    assert displacement.shape == (1, 11, 9, 10, 3)


def test_compares_what_is_carried_in_the_images_place():
    """Images carried along are the images; a mask changes what counts."""
    fixed, moving = np.random.default_rng(1).random((2, 1, 10, 12, 9, 1), "float32")
    model = avx.VoxelMorph(encoder=(4,), decoder=(4, 4), conventions="0.2", seed=0)
    arguments = {"loss": LocalNCCLoss(5), "iterations": 3}
    expected, _ = refine(model, fixed, moving, **arguments)
    assert np.abs(expected - model.register(fixed, moving)[0]).max() > 0.02
    found, _ = refine(model, fixed, moving, compared=(fixed, moving), **arguments)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    mask = np.zeros((1, 10, 12, 9))
    mask[:, :5] = 1
    masked, _ = refine(model, fixed, moving, mask=mask, **arguments)
    assert np.abs(masked - expected).max() > 0.01
