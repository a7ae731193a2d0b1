"""Two hundred draws against the straight-line version of the table."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from synthesis import straight_line

import anyvox_keras as avx

pytestmark = pytest.mark.slow

SIDE, DRAWS, SHAPES = 24, 200, 40
#: Largest difference of two means in standard errors: one in 10^5 per bin by chance.
BOUND = 4.5


@pytest.fixture(scope="module")
def bank():
    return avx.TemplateBank.geometric(SHAPES, SIDE, seed=11)


@pytest.fixture(scope="module")
def ours(bank):
    stream = avx.SyntheticStream(bank, side=SIDE, batch_size=20, seed=5)
    pairs = list(stream.arrays(DRAWS // 20))
    return {name: np.concatenate([pair[name] for pair in pairs]) for name in pairs[0]}


@pytest.fixture(scope="module")
def table(bank):
    rng = np.random.default_rng(7)
    masks = [bank.mask(i) for i in range(len(bank))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        maps = [straight_line.label_map(rng, masks, SIDE) for _ in range(DRAWS)]
        views = [straight_line.view(rng, labels) for labels in maps]
    return {"label_map": np.stack(maps), "view1": np.stack(views)[..., None]}


def _worst(ours: np.ndarray, table: np.ndarray, statistic: Callable) -> float:
    """Largest difference of the statistic's mean, in standard errors; rare bins are left out."""
    a, b = (np.stack([np.atleast_1d(statistic(x)) for x in draws]) for draws in (ours, table))
    common = ((a != 0).mean(0) + (b != 0).mean(0)) > 0.1
    error = np.sqrt((a.var(0) + b.var(0)) / DRAWS)[common]
    return float((np.abs(a.mean(0) - b.mean(0))[common] / np.maximum(error, 1e-12)).max())


def _volumes(labels):
    counts = np.bincount(labels.reshape(-1))[1:]
    edges = np.geomspace(1, SIDE**3, 9)
    return np.histogram(counts[counts > 0], edges)[0].astype("float64")


def _gradients(view):
    steps = np.concatenate([np.abs(np.diff(view, axis=a)).reshape(-1) for a in range(3)])
    return np.histogram(steps, np.linspace(0, 0.5, 11))[0] / steps.size


def _power(view):
    image = view[..., 0] - view.mean()
    power = np.abs(np.fft.fftn(image)) ** 2
    frequency = np.fft.fftfreq(SIDE) * SIDE
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*[frequency] * 3, indexing="ij")))
    ring = np.minimum(radius.astype(int), SIDE // 2)
    return np.log10(np.bincount(ring.reshape(-1), power.reshape(-1)) + 1e-6)


LABELS = {
    "number of labels": lambda labels: len(np.unique(labels)),
    "background": lambda labels: (labels == 0).mean(),
    "volumes": _volumes,
    "faces between labels": lambda labels: np.mean(np.diff(labels, axis=0) != 0),
}
VIEWS = {
    "intensities": lambda view: np.histogram(view, np.linspace(0, 1, 17))[0] / view.size,
    "gradients": _gradients,
    "power spectrum": _power,
    "mean": np.mean,
    "std": np.std,
}


@pytest.mark.parametrize("name", LABELS)
def test_label_maps(name, ours, table):
    assert _worst(ours["label_map"], table["label_map"], LABELS[name]) < BOUND


@pytest.mark.parametrize("name", VIEWS)
def test_views(name, ours, table):
    assert _worst(ours["view1"], table["view1"], VIEWS[name]) < BOUND


def test_whole_distributions(ours, table):
    """Kolmogorov-Smirnov, one in a thousand by chance."""
    for statistic in (LABELS["number of labels"], LABELS["background"]):
        samples = [[statistic(x) for x in draws["label_map"]] for draws in (ours, table)]
        assert stats.ks_2samp(*samples).pvalue > 1e-3
    samples = [draws["view1"].mean(axis=(1, 2, 3, 4)) for draws in (ours, table)]
    assert stats.ks_2samp(*samples).pvalue > 1e-3


def test_views_of_a_pair_share_labels_only(ours):
    first, second = (ours[view].reshape(DRAWS, -1) for view in ("view1", "view2"))
    assert np.abs(first - second).mean() > 0.05
    means = np.corrcoef(first.mean(1), second.mean(1))[0, 1]
    assert abs(means) < 0.6
