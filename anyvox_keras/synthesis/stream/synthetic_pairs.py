"""From keys and shapes to a label map and its two views, inside the graph."""

from typing import Any

import keras
from keras import ops

from anyvox_keras.backend import Array, recorded_over_samples
from anyvox_keras.export import export
from anyvox_keras.float32_layer import Float32Layer
from anyvox_keras.synthesis.appearance import PairedViews
from anyvox_keras.synthesis.labels.label_ensemble import LabelEnsemble
from anyvox_keras.templates import TemplateBank

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
            `TemplateBank.pack`.

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
        # Cast: where TensorFlow builds a model for several devices, it hands over means of them.
        batch = {name: ops.cast(array, "int32") for name, array in batch.items()}
        if self.resident is None:
            return self._synthesise(batch, None)
        chosen = self.resident.choose(batch.pop("templates"))
        # `.value`: `convert_to_tensor` hands a TensorFlow variable on, which no graph can trace
        words = self.resident.words.value
        return self._synthesise({**batch, **chosen}, words)

    def draw(self, sample: Batch, resident_words: Array | None) -> Batch:
        """Draw one pair: all arrays without the batch axis."""
        one = {name: array[None] for name, array in sample.items()}
        keys = one.pop("keys")
        if resident_words is not None:
            one["words"] = resident_words
        label_map = self.labels.apply(one, self.labels.sample(keys))
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
