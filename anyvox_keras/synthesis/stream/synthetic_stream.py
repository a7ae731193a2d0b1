"""The endless stream of pairs, and the layer that makes them in the graph."""

import copy
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import recorded_over_samples
from anyvox_keras.export import Float32Layer, export
from anyvox_keras.glance import Glance, Shown
from anyvox_keras.synthesis.appearance import Appearance, PairedViews
from anyvox_keras.synthesis.labels.label_ensemble import LabelEnsemble
from anyvox_keras.synthesis.labels.whole_maps import WholeMaps
from anyvox_keras.synthesis.stream.seekable_stream import SeekableStream
from anyvox_keras.templates import TemplateBank
from anyvox_keras.types import Array

Batch = dict[str, Array]


@export
class SyntheticPairs(Float32Layer):
    """Draw training pairs on the device: `label_map`, `view1`, `view2`.

    Samples are made one at a time, so that a batch of any size holds the same bytes and needs
    no more memory than one volume. The whole of it is one pure function, compiled where the
    backend compiles, whatever the graph around it is.

    Args:
        labels: The layer that paints label maps.
        views: The layer that paints two images of a label map.
        bank: Shapes to keep on the device; without, each batch brings its own.

    Call arguments:
        batch: `keys` (B, 2) int32 and either `templates` (B, K) int32, indices into the resident
            bank, with `leaders` (B, K) if it has groups, or the packed shapes of
            `TemplateBank.pack`; with `whole` (B, D, H, W) int32, label maps that stand for the
            painted ones where `taken` (B,) is 1.

    Returns:
        `{"label_map": (B, D, H, W) int32, "view1": (B, D, H, W, 1), "view2": likewise}`, the
        views float32.

    Example:
        ```python
        import anyvox_keras as avx

        bank = avx.TemplateBank.geometric(count=50, side=32)
        stream = avx.SyntheticStream(bank, side=32, batch_size=1)
        pair = stream.layer(stream[0][0])
        ```
    """

    def __init__(
        self,
        labels: LabelEnsemble,
        views: PairedViews,
        bank: TemplateBank | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **{"trainable": False, **kwargs})
        self.labels, self.views = labels, views
        self.resident = None if bank is None else _Resident(bank)
        self._synthesise = recorded_over_samples(self.draw, like=self._spec())
        self.built = True

    def call(self, batch: Batch, training: bool | None = None) -> Batch:
        """Draw the pairs of a batch."""
        # Cast: where TensorFlow builds a model for several devices, Keras hands over means of them,
        # unless the model is a `StreamModel`.
        batch = {name: ops.cast(array, "int32") for name, array in batch.items()}
        if self.resident is None:
            return self._synthesise(batch, None)
        chosen = self.resident.choose(batch.pop("templates"))
        # `.value`: `convert_to_tensor` hands a TensorFlow variable on, which no graph can trace.
        # It is read here: a compiled program reads no variable of another device.
        words = ops.stop_gradient(self.resident.words.value)
        return self._synthesise({**batch, **chosen}, words)

    def draw(self, sample: Batch, resident_words: Array | None) -> Batch:
        """Draw one pair: all arrays without the batch axis."""
        one = {name: array[None] for name, array in sample.items()}
        keys, whole = one.pop("keys"), one.pop("whole", None)
        if resident_words is not None:
            one["words"] = resident_words
        label_map = self.labels.apply(one, self.labels.sample(keys))
        if whole is not None:
            taken = ops.reshape(one["taken"], (-1, 1, 1, 1))
            label_map = ops.where(taken > 0, whole, label_map)
        view1, view2 = self.views.draw(label_map, keys)
        return {"label_map": label_map[0], "view1": view1[0], "view2": view2[0]}

    def describe(self) -> str:
        """Describe every step with its probability and ranges as tables."""
        return self.labels.describe() + self.views.appearance.describe()

    def compute_output_spec(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return the specification of one label map and two images per sample."""
        return self._spec(batch["keys"].shape[0])

    def _spec(self, *batch: int | None) -> dict[str, Any]:
        shape = (*batch, *(self.labels.side,) * 3)
        view = {name: keras.KerasTensor((*shape, 1), "float32") for name in ("view1", "view2")}
        return {"label_map": keras.KerasTensor(shape, "int32"), **view}

    def get_config(self) -> dict[str, Any]:
        """The two layers; a resident bank is not part of the config."""
        layers = {"labels": self.labels, "views": self.views}
        own = {name: keras.saving.serialize_keras_object(layer) for name, layer in layers.items()}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SyntheticPairs":
        """Rebuild the two layers."""
        parts = {
            name: keras.saving.deserialize_keras_object(config.pop(name))
            for name in ("labels", "views")
        }
        return cls(**parts, **config)


class _Resident(keras.Layer):
    """A bank's arrays on the device. They are data: no weights file stores them."""

    def __init__(self, bank: TemplateBank) -> None:
        super().__init__(trainable=False, dtype="float32")
        self.words, self.offsets, self.sizes = (
            keras.Variable(array, dtype="int32", trainable=False, name=name)
            for name, array in (
                ("words", bank.words),
                ("offsets", bank.offsets),
                ("sizes", bank.sizes),
            )
        )
        self.built = True

    def choose(self, templates: Array) -> Batch:
        """Look up where the chosen shapes lie."""
        names = ("offsets", "sizes")
        return {name: ops.take(getattr(self, name), templates, axis=0) for name in names}

    def save_own_variables(self, store: Any) -> None:
        """Store nothing."""

    def load_own_variables(self, store: Any) -> None:
        """Load nothing."""


class SyntheticStream(SeekableStream, Shown):
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
        maps: `WholeMaps`, cubes of which take the place of a share of the label maps.
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
        maps: WholeMaps | None = None,
        split: str = "train",
        fixed: bool = False,
        device_budget: int = 2**30,
        **kwargs: Any,
    ) -> None:
        if not isinstance(bank, TemplateBank):
            raise ValueError(f"`bank` must be a TemplateBank. Received: bank={bank!r}")
        super().__init__(batch_size, seed, steps, split, fixed, **kwargs)
        labels = labels or LabelEnsemble(side)
        if labels.side != side:
            raise ValueError(f"`labels` must have side {side}. Received: side={labels.side}")
        self.bank, self.side, self.maps = bank, side, maps
        # Indices of words are int32 on the device.
        self.resident = bank.words.nbytes <= device_budget and len(bank.words) < 2**31
        self.layer = SyntheticPairs(
            labels, views or _views_of(labels), bank if self.resident else None, name="synthesis"
        )

    def __repr__(self) -> str:
        """Say what it draws, in one line."""
        return (
            f"SyntheticStream(side={self.side}, batch_size={self.batch_size}, seed={self.seed}, "
            f"steps={self.steps}, split={self.split!r}: {len(self.bank)} shapes)"
        )

    def glance(self) -> Glance:
        """The next pair: its label map and two views, drawn now (and, once, compiled)."""
        pair = next(self.arrays(1))
        images = {
            "label map": pair["label_map"][0],
            "view 1": pair["view1"][0, ..., 0],
            "view 2": pair["view2"][0, ..., 0],
        }
        facts = [
            ("pair", f"{self.position} of seed {self.seed}, split {self.split}"),
            ("shapes in the bank", len(self.bank)),
            ("side, voxels", self.side),
            ("classes of a label map", self.classes),
            ("pairs per step, steps per epoch", f"{self.batch_size}, {self.steps}"),
        ]
        return Glance("synthetic pairs", facts, images)

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
        found = {"keys": keys}
        if self.maps is not None:
            found |= self.maps.batch(self.side, self.classes, self.seed, samples, self.split)
        if self.resident:
            leaders = {"leaders": self.bank.leaders(templates)} if self.bank.grouped else {}
            return {**found, "templates": templates, **leaders}
        return {**found, **self.bank.pack(templates)}

    def held_out(self, steps: int, split: str = "validation") -> "SyntheticStream":
        """Make a stream of fixed pairs that this one never shows, on the same device layer.

        Args:
            steps: Number of steps of a pass over it.
            split: Name of its pairs.
        """
        other = copy.copy(self)
        other.steps, other.split, other.fixed, other.position = steps, split, True, 0
        return other

    def as_torch_dataset(
        self, count: int | None = None, shard: tuple[int, int] | None = None
    ) -> Any:
        """Make a `torch.utils.data.IterableDataset` of batches, on any backend.

        Every pass begins at `position`, which `seek` sets. The processes of a distributed training
        take turns, so that together they see each batch once; where `count` is no multiple of
        their number, the last ones see one batch less.

        Args:
            count: Number of batches of a pass, over all processes together; endless by default.
            shard: `(i, n)` draws batches i, i + n, i + 2n ... By default the process group of
                `torch.distributed`, or what `torchrun` set in the environment, says which.

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

        return TorchDataset(self, count, shard)

    def as_dataset(self, count: int | None = None, shard: Any = None) -> Any:
        """Make a `tf.data.Dataset` of batches, on any backend.

        Every pass begins at `position`, which `seek` sets. Give the input context where a strategy
        distributes datasets made by a function; a dataset that a strategy distributes by itself
        (`fit`) is shared out by TensorFlow.

        Args:
            count: Number of batches of a pass, over all pipelines together; endless by default.
            shard: `(i, n)` draws batches i, i + n, i + 2n ..., or a `tf.distribute.InputContext`.
                By default several processes of JAX take turns.

        Returns:
            A dataset of dictionaries of tensors, batched already, one batch drawn ahead.

        Example:
            ```python
            for batch in stream.as_dataset(count=1):
                print(batch["view1"].shape)
            ```
        """
        from anyvox_keras.synthesis.stream.tensorflow_dataset import tensorflow_dataset

        return tensorflow_dataset(self, count, shard)


def _views_of(labels: LabelEnsemble) -> PairedViews:
    """Default views that tell all labels apart."""
    views = PairedViews()
    if labels.labels <= views.appearance.mixture.labels:
        return views
    return PairedViews(Appearance(mixture={"labels": labels.labels}))
