"""Streams that go on from any position, and as data sets of PyTorch and TensorFlow."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch

from anyvox_keras.backend import device_name, no_gradient, to_numpy
from anyvox_keras.types import Array

Batch = dict[str, torch.Tensor]


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
            if value < 1:
                raise ValueError(f"`{name}` must be >= 1. Received: {name}={value}")
        self.batch_size, self.seed, self.steps = batch_size, seed, steps
        self.split, self.fixed = split, fixed
        self.position = 0
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
        return (self.batch(range(first, first + self.batch_size)),)

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

    def arrays(self, count: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Iterate over batches as numpy arrays, for your own training loop.

        Args:
            count: Number of batches; endless by default.

        Yields:
            `label_map`, `view1` and `view2` as `stream.layer` returns them.
        """
        for step in itertools.count() if count is None else range(count):
            yield {name: to_numpy(array) for name, array in self.draw(step).items()}

    def draw(self, step: int) -> dict[str, Array]:
        """Draw the batch of a step, counted from `position`, as arrays of the backend."""
        with no_gradient():
            return self.layer(self[step][0])


class TorchDataset(torch.utils.data.IterableDataset):
    """Batches of a stream as tensors, for a `DataLoader` with `batch_size=None`.

    On the torch backend the tensors are on the device that drew them and no copy is made. Workers
    of a loader take turns, so that any number of them gives the same sequence; they can draw only
    where a process may be forked: with PyTorch on a CPU.

    Args:
        stream: The stream that draws the batches.
        count: Number of batches; None is endless.

    Raises:
        ValueError: On iteration, if a worker cannot draw.
    """

    def __init__(self, stream: SeekableStream, count: int | None = None) -> None:
        super().__init__()
        self.stream, self.count = stream, count

    def __iter__(self) -> Iterator[Batch]:
        """Draw from the stream's position onwards."""
        worker = torch.utils.data.get_worker_info()
        first, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        if worker is not None and (keras.config.backend() != "torch" or device_name() != "CPU"):
            where = f"{keras.config.backend()} on {device_name()}"
            raise ValueError(f"`num_workers` must be 0 on {where}. Received: num_workers={stride}")
        endless = itertools.count(first, stride)
        for step in endless if self.count is None else range(first, self.count, stride):
            yield {name: _tensor(array) for name, array in self.stream.draw(step).items()}

    def __len__(self) -> int:
        """Number of batches."""
        if self.count is None:
            raise TypeError("an endless dataset has no length")
        return self.count


def _tensor(array: Array) -> torch.Tensor:
    if isinstance(array, torch.Tensor):
        return array
    return torch.from_numpy(np.array(to_numpy(array)))


def tensorflow_dataset(stream: SeekableStream, count: int | None) -> Any:
    """Make a `tf.data.Dataset` of a stream's batches, one of them drawn ahead.

    A map of `tf.data` would run on the CPU, so the volumes are drawn before it, on the device.
    """
    spec = stream.layer.compute_output_spec({"keys": keras.KerasTensor((stream.batch_size, 2))})
    signature = {name: tf.TensorSpec(one.shape, one.dtype) for name, one in spec.items()}
    return tf.data.Dataset.from_generator(
        lambda: stream.arrays(count), output_signature=signature
    ).prefetch(1)
