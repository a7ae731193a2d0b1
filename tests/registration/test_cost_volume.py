import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from anyvox_keras.backend import compiled, to_numpy
from anyvox_keras.registration import cost_volume, window_offsets


def _truth(fixed, moving, half_width, difference):
    """Written out: shift, compare, two means that count zeros outside."""
    pads = [(half_width, half_width)] * 3 + [(0, 0)]
    padded = np.pad(moving, pads)
    found = []
    for offset in window_offsets(half_width).astype(int) + half_width:
        window = tuple(slice(o, o + n) for o, n in zip(offset, fixed.shape, strict=False))
        cost = difference(fixed, padded[window])
        for _ in range(2):
            cost = uniform_filter(cost, 3, mode="constant")
        found.append(cost)
    return np.stack(found, -1)


def _squared(a, b):
    return ((a - b) ** 2).sum(-1)


def _cosine(a, b):
    a, b = (x / np.sqrt((x**2).sum(-1, keepdims=True) + 1e-12) for x in (a, b))
    return _squared(a, b) / 2


@pytest.mark.parametrize("half_width", [1, 2])
@pytest.mark.parametrize(("distance", "truth"), [("squared", _squared), ("cosine", _cosine)])
def test_equals_the_law(rng, half_width, distance, truth):
    fixed, moving = rng.random((2, 5, 7, 6, 3)).astype("float32")
    ours = to_numpy(
        compiled(lambda f, m: cost_volume(f, m, half_width, distance))(fixed[None], moving[None])
    )
    np.testing.assert_allclose(ours[0], _truth(fixed, moving, half_width, truth), atol=1e-5)


def test_batch_equals_each_sample_alone(rng):
    fixed, moving = rng.random((2, 2, 5, 4, 6, 3)).astype("float32")
    together = to_numpy(cost_volume(fixed, moving))
    alone = [to_numpy(cost_volume(f[None], m[None])) for f, m in zip(fixed, moving, strict=True)]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-6)


def test_lowest_where_the_shift_is_undone(rng):
    moving = rng.random((12, 12, 12, 2)).astype("float32")
    fixed = np.roll(moving, (-1, 2, 0), (0, 1, 2))
    cost = to_numpy(cost_volume(fixed[None], moving[None], 2))[0]
    found = window_offsets(2)[cost[4:8, 4:8, 4:8].argmin(-1)]
    assert (found == [1, -2, 0]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"half_width": 0}, "half_width"), ({"distance": "l1"}, "distance")],
)
def test_refuses_bad_settings(change, message):
    x = np.zeros((1, 4, 4, 4, 1), "float32")
    with pytest.raises(ValueError, match=message):
        cost_volume(x, x, **change)


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match="the same shape"):
        cost_volume(np.zeros((1, 4, 4, 4, 1)), np.zeros((1, 4, 4, 5, 1)))
