import numpy as np
import torch
from convexAdam.convex_adam_utils import inverse_consistency as their_inverse_consistency
from scipy.ndimage import gaussian_filter

from anyvox_keras.backend import compiled, to_numpy
from anyvox_keras.ops import warp
from anyvox_keras.registration import inverse_consistency


def _field(rng, size):
    noise = rng.normal(size=(1, *size, 3))
    return (gaussian_filter(noise, (0, 2, 2, 2, 0)) * 8).astype("float32")


def test_stretched_equals_convexadam(rng):
    size = (8, 9, 7)
    forward, backward = _field(rng, size), _field(rng, size)
    half = (torch.tensor(size) - 1).view(1, 3, 1, 1, 1) / 2

    def theirs(x):
        return (torch.tensor(x).permute(0, 4, 1, 2, 3) / half).flip(1)

    expected = their_inverse_consistency(theirs(forward), theirs(backward), iter=15)
    ours = compiled(lambda f, b: inverse_consistency(f, b, 15, True))(forward, backward)
    for mine, other in zip(ours, expected, strict=True):
        back = (other.flip(1) * half).permute(0, 2, 3, 4, 1).numpy()
        np.testing.assert_allclose(to_numpy(mine), back, atol=2e-4)


def test_result_composes_to_identity_better_than_the_start(rng):
    forward = _field(rng, (12, 12, 12))
    backward = -forward + 0.3 * _field(rng, (12, 12, 12))

    def residual(f, b):
        return np.abs(to_numpy(f) + to_numpy(warp(b, f)))[:, 3:-3, 3:-3, 3:-3].mean()

    assert residual(*inverse_consistency(forward, backward)) < 0.1 * residual(forward, backward)
