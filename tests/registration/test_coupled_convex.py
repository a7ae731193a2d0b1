import numpy as np
import pytest
import torch
from convexAdam.convex_adam_utils import coupled_convex as their_coupled_convex

from anyvox_keras.backend import compiled, to_numpy
from anyvox_keras.registration import (
    cost_volume,
    coupled_convex,
    coupled_convex_by_slabs,
    window_offsets,
)


@pytest.mark.parametrize("half_width", [1, 2])
def test_equals_convexadam(rng, half_width):
    shape = (6, 5, 7)
    offsets = window_offsets(half_width)
    cost = rng.random((*shape, len(offsets))).astype("float32")
    ssd = torch.tensor(np.moveaxis(cost, -1, 0).copy())
    # their mesh has the first axis last
    mesh = torch.tensor(offsets.T.copy())[:, :, None]
    theirs = their_coupled_convex(ssd, ssd.argmin(0), mesh, 1, shape)[0].permute(1, 2, 3, 0)
    ours = to_numpy(compiled(coupled_convex)(cost[None]))[0]
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize("planes", [1, 4, 9])
def test_slabs_change_nothing(rng, planes):
    """Slabs that divide the depth and that do not, one plane alone, the whole volume."""
    fixed, moving = (rng.random((1, 9, 6, 5, 3)).astype("float32") for _ in range(2))
    whole = to_numpy(coupled_convex(cost_volume(fixed, moving, 2)))
    slabs = to_numpy(coupled_convex_by_slabs(fixed, moving, 2, planes))
    np.testing.assert_allclose(slabs, whole, atol=1e-5)
    assert np.abs(whole).max() > 0.3


def test_clear_minimum_is_found():
    cost = np.ones((1, 8, 8, 8, 27), "float32") * 100
    cost[..., 5] = 0
    found = to_numpy(coupled_convex(cost))[0, 2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(found, np.broadcast_to(window_offsets(1)[5], found.shape), atol=1e-6)


def test_refuses_a_window_that_is_no_cube():
    with pytest.raises(ValueError, match="cube"):
        coupled_convex(np.zeros((1, 4, 4, 4, 26), "float32"))
