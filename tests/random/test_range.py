"""The one class that parses range arguments."""

import math

import pytest

from anyvox_keras.backend import to_numpy
from anyvox_keras.random import Range, keys_for


def test_scalar_means_that_value():
    assert (to_numpy(Range(3).sample(keys_for(0, range(2)), (5,))) == 3).all()


def test_pair_means_uniform_between():
    draws = to_numpy(Range((5, 20)).sample(keys_for(0, range(2)), (1000,)))
    assert 5 <= draws.min() < 5.2
    assert 19.8 < draws.max() < 20


def test_pairs_of_a_config_round_trip():
    assert Range(Range((1, 2)).pair) == Range([1, 2])
    assert repr(Range((1, 2))) == "U(1, 2)"
    assert repr(Range(1)) == "1"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((2, 1), "low <= high"),
        (-1, ">= 0"),
        ((0, math.nan), "finite"),
        ("wide", "a number or a pair"),
        ((1, 2, 3), "a number or a pair"),
    ],
)
def test_errors_name_the_argument(value, message):
    with pytest.raises(ValueError, match="`std` must be") as error:
        Range(value, name="std", minimum=0)
    assert message in str(error.value)
    assert "Received: std=" in str(error.value)
