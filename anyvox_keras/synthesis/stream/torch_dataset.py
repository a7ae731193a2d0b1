"""A stream in a training loop of PyTorch."""

from collections.abc import Iterator

import keras
import numpy as np
import torch

from anyvox_keras.backend import device_name, process_shard, to_numpy
from anyvox_keras.backend.torch_processes import process_shard as torch_process
from anyvox_keras.shards import steps_of
from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream
from anyvox_keras.types import Array

Batch = dict[str, torch.Tensor]


class TorchDataset(torch.utils.data.IterableDataset):
    """Batches of a stream as tensors, for a `DataLoader` with `batch_size=None`.

    On the torch backend the tensors are on the device that drew them and no copy is made. Processes
    take turns, and so do the workers of a loader in each of them: together they see each batch
    once, and any number of workers gives a process the same sequence. Workers can draw only where a
    process may be forked: with PyTorch on a CPU.

    Args:
        stream: The stream that draws the batches.
        count: Number of batches of all processes together; None is endless.
        shard: `(i, n)` of this process. None asks `torch.distributed`, then the environment that
            `torchrun` sets, then the backend; a process by itself is (0, 1).

    Raises:
        ValueError: On iteration, if a worker cannot draw.
    """

    def __init__(
        self,
        stream: SeekableStream,
        count: int | None = None,
        shard: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.stream, self.count, self.shard = stream, count, shard

    def __iter__(self) -> Iterator[Batch]:
        """Draw from the stream's position onwards."""
        index, parts = self._process()
        worker = torch.utils.data.get_worker_info()
        if worker is not None:
            _require_fork(worker.num_workers)
            # The loader asks its workers in turn, so that theirs are the process's own batches.
            index, parts = index + parts * worker.id, parts * worker.num_workers
        for step in steps_of(self.count, (index, parts)):
            yield {name: _tensor(array) for name, array in self.stream.draw(step).items()}

    def __len__(self) -> int:
        """Number of batches of this process."""
        if self.count is None:
            raise TypeError("an endless dataset has no length")
        index, parts = self._process()
        return len(range(index, self.count, parts))

    def _process(self) -> tuple[int, int]:
        return _process_shard() if self.shard is None else self.shard


def _process_shard() -> tuple[int, int]:
    """Which of how many processes this is, by PyTorch or else by the backend."""
    index, parts = torch_process()
    return (index, parts) if parts > 1 else process_shard()


def _require_fork(workers: int) -> None:
    if keras.config.backend() != "torch" or device_name() != "CPU":
        where = f"{keras.config.backend()} on {device_name()}"
        raise ValueError(f"`num_workers` must be 0 on {where}. Received: num_workers={workers}")


def _tensor(array: Array) -> torch.Tensor:
    if isinstance(array, torch.Tensor):
        return array
    return torch.from_numpy(np.array(to_numpy(array)))
