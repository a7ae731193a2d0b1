"""What `fit` is given: keys and shapes, without end."""

import copy
from typing import Any

import numpy as np

from anyvox_keras import random
from anyvox_keras.synthesis.appearance import Appearance, PairedViews
from anyvox_keras.synthesis.labels.label_ensemble import LabelEnsemble
from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream
from anyvox_keras.synthesis.stream.synthetic_pairs import SyntheticPairs
from anyvox_keras.templates import TemplateBank


class SyntheticStream(SeekableStream):
    """An endless, seekable stream of synthetic pairs for `fit`.

    The stream itself passes a few integers per pair: keys, and which shapes of the bank to paint
    (or, for a bank that does not fit the device, those shapes, packed). `stream.layer` turns them
    into volumes inside the model's graph; `WithSynthesis` and `ContrastivePretrainer` bind it.
    Pair number `i` of a seed is the same volume in every batch, epoch, worker and shard.

    Args:
        bank: The shapes.
        side: Side of the volumes, at least 16.
        batch_size: Pairs per step.
        seed: Seed of the data set.
        steps: Steps per epoch: `len(stream)`. The next epoch continues with new pairs.
        labels: A `LabelEnsemble` of that side, to change how label maps are drawn.
        views: A `PairedViews`, to change how views are painted.
        split: Name that keeps streams of one seed apart: "train", "validation".
        fixed: Whether every epoch repeats the same pairs, as a validation set does.
        device_budget: Largest bank, in bytes, that is kept on the device.
        **kwargs: Arguments of `keras.utils.PyDataset` (`workers`, `max_queue_size`).

    Raises:
        ValueError: If an argument is out of range.

    Example:
        ```python
        import anyvox_keras as avx

        bank = avx.TemplateBank.geometric(count=50, side=32)
        stream = avx.SyntheticStream(bank, side=32, batch_size=2, seed=0)
        pair = next(stream.arrays())
        print(pair["label_map"].shape, pair["view1"].dtype)
        ```
    """

    def __init__(
        self,
        bank: TemplateBank,
        side: int = 128,
        batch_size: int = 1,
        seed: int = 0,
        *,
        steps: int = 100,
        labels: LabelEnsemble | None = None,
        views: PairedViews | None = None,
        split: str = "train",
        fixed: bool = False,
        device_budget: int = 2**30,
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_size, seed, steps, split, fixed, **kwargs)
        labels = labels or LabelEnsemble(side)
        if labels.side != side:
            raise ValueError(f"`labels` must have side {side}. Received: side={labels.side}")
        self.bank, self.side = bank, side
        # Indices of words are int32 on the device.
        self.resident = bank.words.nbytes <= device_budget and len(bank.words) < 2**31
        self.layer = SyntheticPairs(
            labels, views or _views_of(labels), bank if self.resident else None, name="synthesis"
        )

    @property
    def classes(self) -> int:
        """Number of classes that a network needs to predict the label map."""
        return self.layer.labels.labels

    def describe(self) -> str:
        """Describe every step with its probability and ranges as tables.

        Example:
            ```python
            print(stream.describe())
            ```
        """
        return self.layer.describe()

    def batch(self, samples: range) -> dict[str, np.ndarray]:
        """Return what the layer needs for the pairs with these numbers."""
        keys = random.keys_for(self.seed, samples, self.split)
        draws = random.keys_for(self.seed, samples, f"{self.split}/templates")
        count = self.layer.labels.templates
        groups = random.integers(draws, (count,), 0, self.bank.group_count, xp=np)
        templates = self.bank.members(groups)
        if self.resident:
            leaders = {"leaders": self.bank.leaders(templates)} if self.bank.grouped else {}
            return {"keys": keys, "templates": templates, **leaders}
        return {"keys": keys, **self.bank.pack(templates)}

    def held_out(self, steps: int, split: str = "validation") -> "SyntheticStream":
        """Make a stream of fixed pairs that this one never shows, on the same device layer.

        Args:
            steps: Number of steps of a pass over it.
            split: Name of its pairs.
        """
        other = copy.copy(self)
        other.steps, other.split, other.fixed, other.position = steps, split, True, 0
        return other

    def as_torch_dataset(self, count: int | None = None) -> Any:
        """Make a `torch.utils.data.IterableDataset` of batches, on any backend.

        Every pass begins at `position`, which `seek` sets.

        Args:
            count: Number of batches of a pass; endless by default.

        Returns:
            A dataset of dictionaries of tensors, batched already: a `DataLoader` takes it with
            `batch_size=None`. Any number of workers gives the same sequence; they need
            PyTorch on a CPU.

        Example:
            ```python
            from torch.utils.data import DataLoader

            for batch in DataLoader(stream.as_torch_dataset(count=2), batch_size=None):
                print(batch["view1"].shape)
            ```
        """
        from anyvox_keras.synthesis.stream.torch_dataset import TorchDataset

        return TorchDataset(self, count)

    def as_dataset(self, count: int | None = None) -> Any:
        """Make a `tf.data.Dataset` of batches, on any backend.

        Every pass begins at `position`, which `seek` sets.

        Args:
            count: Number of batches of a pass; endless by default.

        Returns:
            A dataset of dictionaries of tensors, batched already, one batch drawn ahead.

        Example:
            ```python
            for batch in stream.as_dataset(count=1):
                print(batch["view1"].shape)
            ```
        """
        from anyvox_keras.synthesis.stream.tensorflow_dataset import tensorflow_dataset

        return tensorflow_dataset(self, count)


def _views_of(labels: LabelEnsemble) -> PairedViews:
    """Default views that tell all labels apart."""
    views = PairedViews()
    if labels.labels <= views.appearance.mixture.labels:
        return views
    return PairedViews(Appearance(mixture={"labels": labels.labels}))
