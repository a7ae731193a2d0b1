"""Fits in two processes and in one, compared; a program that is run twice at once.

`FOLDER kill` ends one of them.
"""

import os
import signal
import sys

import keras
import numpy as np
from fake_stream import FakeStream
from keras import ops

import anyvox_keras as avx
from anyvox_keras.backend import on_devices, peers
from anyvox_keras.training import Checkpoint

FIRST, STEPS = 1, 3
COMPILED = keras.backend.backend() != "torch"  # for another minute, where more is fitted


class EachTwice(FakeStream):
    """Notes the pairs asked for; those of a step are one, since heads have batch statistics."""

    pairs: tuple[int, ...] = ()

    def batch(self, samples):
        self.pairs += tuple(samples)
        return super().batch([sample - sample % 2 for sample in samples])


class KillSecond(keras.callbacks.Callback):
    """Ends the second process without a word, when the first has a checkpoint."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 11 and peers()[0] == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def model():
    network = avx.UNet(width=2, levels=1, output_channels=2, normalization="instance", seed=0)
    made = avx.ContrastivePretrainer(network, samples=16, width=4, augmentation=None)
    made.compile(keras.optimizers.SGD(0.003, momentum=0.5))  # larger steps make much of a rounding
    return made


def stream(steps=FIRST):
    return EachTwice(side=8, batch_size=2, steps=steps)


def weights(trained):
    return np.concatenate(
        [ops.convert_to_numpy(weight).ravel() for weight in trained.trainable_variables]
    )


def assert_learned_alike(two, one, start, share):
    np.testing.assert_allclose(two - start, one - start, atol=share * np.abs(one - start).max())


if __name__ == "__main__":
    folder = sys.argv[1]
    with on_devices(2):
        many, pairs = model(), stream()
        checkpoint = Checkpoint(folder, pairs)
        if "kill" in sys.argv:
            pairs.steps = 20
            many.fit(pairs, callbacks=[checkpoint, KillSecond()], verbose=0)
        found = many.fit(pairs, verbose=0).history
        step = weights(many)
        checkpoint.step = FIRST
        many.fit(pairs, epochs=STEPS - FIRST, callbacks=[checkpoint], verbose=0)
        two, (rank, ranks) = weights(many), peers()
        assert ranks == 2
        if not COMPILED:
            validated = many.evaluate(stream(2), verbose=0, return_dict=True)
    one, whole = model(), stream()
    start = weights(one)
    expected = one.fit(whole, verbose=0).history

    reads_all = keras.backend.backend() == "tensorflow"  # whose strategy then drops others' pairs
    own = [pair for pair in range(2 * STEPS) if reads_all or pair % 2 == rank]
    assert set(pairs.pairs) == set(own), pairs.pairs
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    assert_learned_alike(step, weights(one), start, 1e-4)  # one step: the gradient
    one.fit(whole, epochs=STEPS - FIRST, verbose=0)
    assert_learned_alike(two, weights(one), start, 0.02)
    resumed, rest = model(), stream()
    Checkpoint(folder, rest).restore(resumed)
    assert rest.position == 2 * STEPS
    np.testing.assert_array_equal(weights(resumed), two)
    if COMPILED:
        print("alike")
        sys.exit()
    for name, value in one.evaluate(stream(2), verbose=0, return_dict=True).items():
        np.testing.assert_allclose(validated[name], value, rtol=1e-2, atol=1e-2, err_msg=name)
    resumed.fit(rest, verbose=0)
    one.fit(whole, verbose=0)
    assert_learned_alike(weights(resumed), weights(one), start, 0.02)
    print("alike")
