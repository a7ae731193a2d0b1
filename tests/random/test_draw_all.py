"""Draws made together are the draws made one by one."""

import numpy as np

from anyvox_keras import random
from anyvox_keras.backend import to_numpy
from anyvox_keras.random import Draw


def test_together_equals_one_by_one():
    plan = {
        "count": Draw("integers", (), 20, 40),
        "blur": {"active": Draw("bernoulli", (), 0.0, 0.3), "sigma": Draw("uniform", (3,), 1, 2)},
        "noise": {"deep": {"field": Draw("normal", (3, 3)), "large": Draw("normal", (30, 30, 30))}},
    }
    keys = random.keys_for(3, range(2))
    drawn = random.draw_all(keys, plan)

    def at(*names):
        derived = keys
        for name in names:
            derived = random.fold_in(derived, name)
        return derived

    deep = drawn["noise"]["deep"]
    expected = [
        (drawn["count"], random.integers(at("count"), (), 20, 40)),
        (drawn["blur"]["active"], random.bernoulli(at("blur", "active"), (), 0.3)),
        (drawn["blur"]["sigma"], random.uniform(at("blur", "sigma"), (3,), 1, 2)),
        (deep["field"], random.normal(at("noise", "deep", "field"), (3, 3))),
        (deep["large"], random.normal(at("noise", "deep", "large"), (30, 30, 30))),
    ]
    for actual, alone in expected:
        np.testing.assert_array_equal(to_numpy(actual), to_numpy(alone))


def test_a_key_is_two_words():
    keys = random.keys_for(3, range(2))
    drawn = to_numpy(random.draw_all(keys, {"own": Draw("key")})["own"])
    np.testing.assert_array_equal(drawn, to_numpy(random.bits(random.fold_in(keys, "own"), 2)))
