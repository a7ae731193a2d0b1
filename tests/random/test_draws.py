"""Distributions, shapes and independence of the draws."""

import numpy as np
import pytest
from keras import ops
from scipy import stats

from anyvox_keras import random
from anyvox_keras.backend import compiled, to_numpy

KEYS = random.keys_for(3, range(2))
ALPHA = 1e-4


@pytest.mark.parametrize(
    ("draw", "cdf"),
    [
        (lambda k: random.uniform(k, (40_000,), -2.0, 3.0), stats.uniform(-2, 5).cdf),
        (lambda k: random.normal(k, (40_000,)), stats.norm.cdf),
    ],
    ids=["uniform", "normal"],
)
def test_kolmogorov_smirnov(draw, cdf):
    for sample in to_numpy(draw(KEYS)):
        assert stats.kstest(sample, cdf).pvalue > ALPHA


def test_halves_of_normal_are_independent():
    sample = to_numpy(random.normal(KEYS, (2, 20_000)))[0]
    assert abs(np.corrcoef(sample)[0, 1]) < 4 / np.sqrt(20_000)


def test_integers_are_uniform():
    sample = to_numpy(random.integers(KEYS, (40_000,), 20, 40))
    assert sample.dtype == np.int32
    assert sample.min() == 20
    assert sample.max() == 39
    assert stats.chisquare(np.bincount(sample[0])[20:]).pvalue > ALPHA


def test_host_and_device_draw_the_same_integers():
    host = random.integers(KEYS, (7, 3), -5, 90, xp=np)
    np.testing.assert_array_equal(host, to_numpy(random.integers(KEYS, (7, 3), -5, 90)))
    assert host.dtype == np.int32


def test_bernoulli_rate_and_ends():
    rate = to_numpy(random.bernoulli(KEYS, (40_000,), 0.3)).mean()
    assert abs(rate - 0.3) < 4 * np.sqrt(0.21 / 80_000)
    assert not to_numpy(random.bernoulli(KEYS, (1000,), 0.0)).any()
    assert to_numpy(random.bernoulli(KEYS, (1000,), 1.0)).all()
    with pytest.raises(ValueError, match="`p` must be in"):
        random.bernoulli(KEYS, (1,), 1.5)


@pytest.mark.parametrize("n", [1, 64, 4096, 64 * 65, 10_007, 48**3])
def test_choice_has_no_repeats(n):
    k = min(n, 512)
    sample = to_numpy(random.choice(KEYS, n, k))
    assert sample.shape == (2, k)
    assert sample.min() >= 0
    assert sample.max() < n
    assert all(len(np.unique(row)) == k for row in sample)


@pytest.mark.parametrize("n", [64, 6400])
def test_permutation_is_a_permutation(n):
    assert (np.sort(to_numpy(random.permutation(KEYS, n)), axis=1) == np.arange(n)).all()


def test_choice_covers_large_ranges_uniformly():
    keys = random.keys_for(0, range(100))
    sample = to_numpy(random.choice(keys, 48**3, 512)).ravel()
    counts = np.histogram(sample, bins=48, range=(0, 48**3))[0]
    assert stats.chisquare(counts).pvalue > ALPHA
    # Neighbouring draws are unrelated, too.
    assert abs(np.corrcoef(sample[:-1], sample[1:])[0, 1]) < 4 / np.sqrt(len(sample))


def test_choice_refuses_more_than_there_is():
    with pytest.raises(ValueError, match="`k` must be in"):
        random.choice(KEYS, 4, 5)


def test_sub_streams_differ_and_repeat():
    a, b = (to_numpy(random.fold_in(KEYS, name)) for name in ("a", "b"))
    assert not (a == b).any()
    np.testing.assert_array_equal(a, to_numpy(random.fold_in(KEYS, "a")))


def test_host_and_device_derive_the_same_keys():
    host = random.keys_for(11, range(5), "train")
    base = random.keys_for(11, [0], "train")
    assert (host[0] == base[0]).all()
    # keys_for is fold_in of the seed's key by name, then by index.
    seed_key = np.asarray([[11, 0]], "int32")
    named = ops.broadcast_to(random.fold_in(seed_key, "train"), (5, 2))
    device = random.fold_in(named, ops.arange(5, dtype="int32"))
    np.testing.assert_array_equal(host, to_numpy(device))


def test_keys_depend_on_64_bits_of_seed_and_on_stream():
    keys = [random.keys_for(s, [0], n) for s, n in [(1, ""), (1 + 2**32, ""), (-1, ""), (1, "v")]]
    assert len({tuple(k[0]) for k in keys}) == 4
    with pytest.raises(ValueError, match="`indices` must be in"):
        random.keys_for(0, [-1])


def test_a_draw_does_not_depend_on_its_batch():
    whole, alone = (random.integers(keys, (5, 7), 0, 9) for keys in (KEYS, KEYS[1:]))
    np.testing.assert_array_equal(to_numpy(whole)[1:], to_numpy(alone))
    # A vectorised logarithm rounds the tail of an array otherwise: equal to the last bit only.
    whole, alone = (random.normal(keys, (5, 7)) for keys in (KEYS, KEYS[1:]))
    np.testing.assert_allclose(to_numpy(whole)[1:], to_numpy(alone), atol=1e-6)


def test_eager_equals_compiled():
    eager = random.normal(KEYS, (1000,))
    jitted = compiled(lambda k: random.normal(k, (1000,)))(ops.convert_to_tensor(KEYS))
    np.testing.assert_allclose(to_numpy(eager), to_numpy(jitted), rtol=1e-5, atol=1e-6)
    chosen = compiled(lambda k: random.choice(k, 32**3, 100))(ops.convert_to_tensor(KEYS))
    np.testing.assert_array_equal(to_numpy(random.choice(KEYS, 32**3, 100)), to_numpy(chosen))


def test_draws_are_the_published_ones_on_every_backend():
    # Written out once by numpy's Threefry on the host, so that no backend defines the truth.
    counter = (np.arange(2, dtype="int32"), np.zeros(2, "int32"))
    key = (KEYS[:1, 0], KEYS[:1, 1])
    first, second = random.threefry2x32(key, counter, np)
    words = np.concatenate([first, second])
    np.testing.assert_array_equal(to_numpy(random.bits(KEYS, 4))[0], words)
    unit = (words.view("uint32") >> 8).astype("float64") * 2.0**-24
    np.testing.assert_array_equal(to_numpy(random.uniform(KEYS, (4,)))[0], unit)
    radius, angle = np.sqrt(-2 * np.log(unit[:2] + 2.0**-24)), 2 * np.pi * unit[2:]
    normals = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    np.testing.assert_allclose(to_numpy(random.normal(KEYS, (4,)))[0], normals, atol=1e-6)


def test_smooth_noise_interpolates_unit_nodes():
    field = to_numpy(random.smooth_noise(random.keys_for(0, range(8)), (32, 32, 32), 8, 2))
    assert field.shape == (8, 32, 32, 32, 2)
    step = np.abs(np.diff(field, axis=1)).max()
    assert step < np.abs(field).max() / 2
    nodes = to_numpy(random.smooth_noise(random.keys_for(0, range(8)), (16, 16, 16), 1))
    assert stats.kstest(nodes.ravel(), stats.norm.cdf).pvalue > ALPHA
    with pytest.raises(ValueError, match="`scale` must be > 0"):
        random.smooth_noise(KEYS, (8, 8, 8), 0)
