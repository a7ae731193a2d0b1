"""Streams that go on from any position."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from anyvox_keras.backend import no_gradient, to_numpy
from anyvox_keras.errors import check_count, check_seed
from anyvox_keras.shards import part_of, steps_of
from anyvox_keras.types import Array


class SeekableStream(keras.utils.PyDataset):
    """An endless stream of numbered samples.

    Sample `i` of a seed is the same in every batch, epoch, worker and shard. Subclasses write
    `batch(samples)`, and set the `layer` that turns a batch into what is trained on.

    Args:
        batch_size: Samples per step.
        seed: Seed of the data set.
        steps: Steps per epoch: `len(stream)`. The next epoch continues with new samples.
        split: Name that keeps streams of one seed apart: "train", "validation".
        fixed: Whether every epoch repeats the same samples, as a validation set does.
        **kwargs: Arguments of `keras.utils.PyDataset` (`workers`, `max_queue_size`).

    Raises:
        ValueError: If `batch_size` or `steps` is below 1.
    """

    layer: Any

    def __init__(
        self, batch_size: int, seed: int, steps: int, split: str, fixed: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("batch_size", batch_size), ("steps", steps)):
            check_count(name, value)
        check_seed("seed", seed)
        self.batch_size, self.seed, self.steps = batch_size, seed, steps
        self.split, self.fixed = split, fixed
        self.position = 0
        self.shard = 0, 1
        self._begun = self._complete = False

    def batch(self, samples: range) -> dict[str, np.ndarray]:
        """Return what the layer needs for the samples with these numbers."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Return the number of steps per epoch."""
        return self.steps

    def __getitem__(self, step: int) -> tuple[dict[str, np.ndarray]]:
        """Return the batch of a step of this epoch."""
        # Not at the first steps, which `fit` reads to learn the shapes.
        self._complete = self._complete or (self._begun and step == self.steps - 1)
        first = self.position + step * self.batch_size
        return (self.batch(part_of(range(first, first + self.batch_size), self.shard)),)

    @contextlib.contextmanager
    def shared(self, shard: tuple[int, int]) -> Iterator[None]:
        """Let this process see the i-th of n parts of every batch for a while."""
        before, self.shard = self.shard, shard
        try:
            yield
        finally:
            self.shard = before

    def seek(self, position: int) -> None:
        """Make sample number `position` the next epoch's first."""
        if position < 0:
            raise ValueError(f"`position` must be >= 0. Received: position={position}")
        self.position = position

    def on_epoch_begin(self) -> None:
        """Wait for the epoch's last step."""
        self._begun, self._complete = True, False

    def on_epoch_end(self) -> None:
        """Continue with new samples after an epoch; `fit` also calls this before the first one."""
        if self._complete and not self.fixed:
            self.position += self.steps * self.batch_size
        self._begun = self._complete = False

    def arrays(
        self, count: int | None = None, shard: tuple[int, int] = (0, 1)
    ) -> Iterator[dict[str, np.ndarray]]:
        """Iterate over batches as numpy arrays, for your own training loop.

        Args:
            count: Number of batches of all shards together; endless by default.
            shard: `(i, n)` draws batches i, i + n, i + 2n ...: n loops see each batch once.

        Yields:
            `label_map`, `view1` and `view2` as `stream.layer` returns them.
        """
        for step in steps_of(count, shard):
            yield {name: to_numpy(array) for name, array in self.draw(step).items()}

    def draw(self, step: int) -> dict[str, Array]:
        """Draw the batch of a step, counted from `position`, as arrays of the backend."""
        with no_gradient():
            return self.layer(self[step][0])
