"""Random123's published known-answer vectors for Threefry-2x32 with 20 rounds."""

import numpy as np
import pytest
from keras import ops

from anyvox_keras.backend import to_numpy
from anyvox_keras.random import threefry2x32

# kat_vectors of Random123 1.14: counter, key, result.
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def words(pair):
    return tuple(np.asarray([word], "uint32").astype("int32") for word in pair)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
@pytest.mark.parametrize("namespace", ["numpy", "keras"])
def test_known_answers(counter, key, expected, namespace):
    key, counter = words(key), words(counter)
    if namespace == "numpy":
        result = threefry2x32(key, counter, np)
    else:
        tensors = [tuple(map(ops.convert_to_tensor, pair)) for pair in (key, counter)]
        result = threefry2x32(*tensors)
    assert tuple(int(to_numpy(word)[0]) & 0xFFFFFFFF for word in result) == expected
