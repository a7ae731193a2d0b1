import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter, map_coordinates, uniform_filter

from anyvox_keras.backend import compiled, to_numpy
from anyvox_keras.metrics import folds_percent
from anyvox_keras.ops import identity_grid
from anyvox_keras.registration import AdamSettings, instance_optimisation
from anyvox_keras.registration.deformable.instance_optimisation import squared_correlation

SHAPE = (10, 9, 11)


def _smooth_images(rng, channels=2):
    noise = rng.normal(size=(*SHAPE, channels))
    return (gaussian_filter(noise, (1.5, 1.5, 1.5, 0)) * 4).astype("float32")


def _in_torch(fixed, moving, start, steps, smoothness):
    """The law with torch's own Adam, pooling, sampling and autograd."""
    fixed, moving = (torch.tensor(x).permute(3, 0, 1, 2)[None] for x in (fixed, moving))
    parameters = torch.tensor(start).permute(3, 0, 1, 2)[None].requires_grad_()
    optimiser = torch.optim.Adam([parameters], lr=0.5)
    identity = torch.tensor(identity_grid(SHAPE))
    size = torch.tensor(SHAPE)
    for _ in range(steps):
        optimiser.zero_grad()
        smooth = parameters
        for _ in range(3):
            smooth = F.avg_pool3d(smooth, 3, stride=1, padding=1)
        where = identity + smooth[0].permute(1, 2, 3, 0)
        where = ((2 * where + 1) / size - 1).flip(-1)[None]
        warped = F.grid_sample(moving, where, align_corners=False)
        rough = sum((torch.diff(smooth, dim=axis) ** 2).mean() for axis in (2, 3, 4))
        loss = 12 * ((warped - fixed) ** 2).mean() + smoothness * rough
        loss.backward()
        optimiser.step()
    return smooth.detach()[0].permute(1, 2, 3, 0).numpy()


def _ours(fixed, moving, start=None, **settings):
    start = np.zeros((*SHAPE, 3), "float32") if start is None else start
    run = compiled(lambda f, m, u: instance_optimisation(f, m, u, AdamSettings(**settings)))
    return to_numpy(run(fixed[None], moving[None], start[None]))[0]


def test_equals_torch_adam(rng):
    fixed, moving = _smooth_images(rng), _smooth_images(rng)
    start = rng.normal(size=(*SHAPE, 3)).astype("float32")
    ours = _ours(fixed, moving, start, iterations=6, learning_rate=0.5, smoothness=0.75)
    theirs = _in_torch(fixed, moving, start, 6, 0.75)
    assert np.abs(ours - theirs).mean() < 2e-3


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"distance": "cosine"},
        {"distance": "chord"},
        {"velocity": True},
        {"velocity": True, "symmetric": True},
    ],
)
def test_match_improves(rng, settings):
    moving = _smooth_images(rng, 3)
    fixed = _pull(moving, np.broadcast_to([0.8, -0.6, 0.5], (*SHAPE, 3)))
    options = {"iterations": 40, "learning_rate": 0.3, "smoothness": 0.01, **settings}
    found = _ours(fixed, moving, **options)

    def mismatch(displacement):
        apart = (_pull(moving, displacement) - fixed)[2:-2, 2:-2, 2:-2]
        return (apart**2).mean()

    assert mismatch(found) < 0.25 * mismatch(np.zeros((*SHAPE, 3)))


def _pull(image, displacement):
    where = np.moveaxis(identity_grid(SHAPE) + displacement, -1, 0)
    parts = [map_coordinates(image[..., c], where, order=1) for c in range(image.shape[-1])]
    return np.stack(parts, -1).astype("float32")


def test_velocity_folds_less_than_displacement(rng):
    fixed, moving = _smooth_images(rng) * 3, _smooth_images(rng) * 3
    options = {"iterations": 30, "smoothness": 0.02, "passes": 2}
    free = folds_percent(_ours(fixed, moving, **options))
    assert free > 5
    assert folds_percent(_ours(fixed, moving, **options, velocity=True)) < 0.2 * free


def test_what_matches_nowhere_pulls_less_by_the_chord(rng):
    """A body that only one image shows: the rest should stay where it is."""
    x = _smooth_images(rng, 3)
    spoilt = x.copy()
    spoilt[:3] = _smooth_images(rng, 3)[:3]
    options = {"iterations": 40, "learning_rate": 0.3, "smoothness": 0.5}
    moved = {
        kind: np.abs(_ours(x, spoilt, distance=kind, **options)[5:]).mean()
        for kind in ("cosine", "chord")
    }
    assert moved["chord"] < 0.7 * moved["cosine"], moved


def test_squared_correlation_is_that_of_each_window(rng):
    first, second = (_smooth_images(rng, 1)[None] for _ in range(2))
    known = (rng.random(first.shape) < 0.7).astype("float32")
    found = to_numpy(squared_correlation(first)(second, known))[0, ..., 0]
    at = (slice(3, 8), slice(2, 7), slice(4, 9))
    here = known[0, ..., 0][at] > 0
    expected = np.corrcoef(first[0, ..., 0][at][here], second[0, ..., 0][at][here])[0, 1] ** 2
    assert abs(found[5, 4, 6] - expected) < 0.02


def test_images_alone_lead_to_the_match_whatever_their_contrast(rng):
    moving = _smooth_images(rng, 1)
    fixed = 1 - _pull(moving, np.broadcast_to([0.8, -0.6, 0.5], (*SHAPE, 3)))
    nothing = np.zeros((1, *SHAPE, 2), "float32")
    settings = AdamSettings(iterations=40, learning_rate=0.3, smoothness=0.01, correlation=3.0)
    run = compiled(
        lambda f, m: instance_optimisation(
            nothing, nothing, np.zeros((1, *SHAPE, 3), "float32"), settings, None, (f, m)
        )
    )
    found = to_numpy(run(fixed[None], moving[None]))[0]
    inner = found[3:-3, 3:-3, 3:-3].mean(axis=(0, 1, 2))
    assert np.abs(inner - [0.8, -0.6, 0.5]).max() < 0.2, inner


@pytest.mark.parametrize("slack", [0.0, 1.0, 4.0])
def test_outside_counts_as_the_mean_displacement_beyond_the_slack(rng, slack):
    """The first step's field: scipy's means of the start, that constant beyond its faces."""
    start = rng.normal(size=(1, *SHAPE, 3)).astype("float32") + np.array([3.0, -2.0, 0.2], "f4")
    flat = np.zeros((1, *SHAPE, 1), "float32")
    settings = AdamSettings(iterations=1, slack=slack)
    expected = start[0].copy()
    for axis in range(3):
        mean = expected[..., axis].mean()
        beyond = np.sign(mean) * max(abs(mean) - slack, 0)
        for _ in range(settings.passes):
            expected[..., axis] = uniform_filter(
                expected[..., axis], 3, mode="constant", cval=beyond
            )
    found = to_numpy(instance_optimisation(flat, flat, start, settings))[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_stops_when_nothing_moves(rng):
    x = _smooth_images(rng)
    start = np.full((*SHAPE, 3), 0.5, "float32")
    options = {"iterations": 50, "smoothness": 0.0, "learning_rate": 0.1}
    long, short = (_ours(x, x, start, tolerance=t, **options) for t in (1e-6, 0.03))
    centre = (slice(4, -4),) * 3
    assert np.abs(long[centre]).mean() < np.abs(short[centre]).mean()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 0}, "iterations"),
        ({"smoothness": -1}, "smoothness"),
        ({"slack": -1}, "slack"),
        ({"distance": "l1"}, "distance"),
        ({"symmetric": True}, "symmetric"),
    ],
)
def test_refuses_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        AdamSettings(**settings)
