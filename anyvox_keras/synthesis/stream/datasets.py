"""Streams as data sets of PyTorch and TensorFlow, for training loops of one's own."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch

from anyvox_keras.backend import device_name, to_numpy
from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream
from anyvox_keras.types import Array

Batch = dict[str, torch.Tensor]


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
