"""Writes pairs of one seed to a file: run in its own process, with any backend.

Usage: python pair_arrays.py OUT.npz SIDE COUNT [eager]
"""

import contextlib
import sys

with contextlib.suppress(ImportError):
    import torch  # noqa: F401  (before TensorFlow)

import numpy as np
from keras import ops, tree

import anyvox_keras as avx
from anyvox_keras.backend import map_samples, to_numpy


def pair_arrays(side: int, count: int, eager: bool = False) -> dict[str, np.ndarray]:
    """Pairs 0..count-1 of seed 5."""
    bank = avx.TemplateBank.geometric(count=40, side=side)
    stream = avx.SyntheticStream(bank, side=side, batch_size=count, seed=5)
    if not eager:
        return next(stream.arrays())
    layer, batch = stream.layer, tree.map_structure(ops.convert_to_tensor, stream[0][0])
    samples = {"keys": batch["keys"], **layer.resident.choose(batch["templates"])}
    words, like = layer.resident.words.value, layer._spec()
    pair = map_samples(lambda sample: layer.draw(sample, words), samples, like)
    return {name: to_numpy(array) for name, array in pair.items()}


if __name__ == "__main__":
    path, side, count, *rest = sys.argv[1:]
    np.savez(path, **pair_arrays(int(side), int(count), eager=bool(rest)))
