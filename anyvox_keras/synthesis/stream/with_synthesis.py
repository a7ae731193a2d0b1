"""Train any Keras model on synthetic pairs."""

from typing import Any

import keras

from anyvox_keras.errors import one_of
from anyvox_keras.export import export
from anyvox_keras.synthesis.stream.stream_model import StreamModel
from anyvox_keras.synthesis.stream.synthetic_stream import SyntheticPairs, SyntheticStream
from anyvox_keras.types import Array, PairEntry


@export
class WithSynthesis(StreamModel):
    """Any Keras model, trained by `fit(stream)` with the synthesis inside its graph.

    The losses and metrics of `compile` see `(pair[y], model(pair[x]))`; the wrapped model itself
    is not changed and can be used alone after training.

    Args:
        model: A model of one volume `(B, D, H, W, 1)`.
        stream: The `SyntheticStream` to bind, or its layer.
        x: What the model reads: "view1", "view2" or "label_map".
        y: What its output is compared with.
        **kwargs: Arguments of `keras.Model`.

    Raises:
        ValueError: If `x` or `y` is not an entry of the pairs.

    Example:
        ```python
        import keras
        import anyvox_keras as avx

        bank = avx.TemplateBank.geometric(count=50, side=16)
        stream = avx.SyntheticStream(bank, side=16, steps=2)
        model = keras.Sequential([keras.layers.Conv3D(stream.classes, 3, padding="same")])
        trainer = avx.WithSynthesis(model, stream)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        trainer.compile("adam", loss)
        trainer.fit(stream, verbose=0)
        ```
    """

    def __init__(
        self,
        model: keras.Model,
        stream: SyntheticStream | SyntheticPairs,
        x: PairEntry = "view1",
        y: PairEntry = "label_map",
        **kwargs: Any,
    ) -> None:
        for name, entry in (("x", x), ("y", y)):
            one_of(name, entry, PairEntry)
        if not isinstance(stream, SyntheticStream | SyntheticPairs):
            raise ValueError(f"`stream` must be a SyntheticStream. Received: {stream!r}")
        super().__init__(**kwargs)
        self.model, self.entry_x, self.entry_y = model, x, y
        self.synthesis = stream if isinstance(stream, SyntheticPairs) else stream.layer
        side = self.synthesis.labels.side
        if not model.built:
            model.build((None, side, side, side, 1))
        self.built = True

    def call(self, batch: dict[str, Array], training: bool | None = None) -> dict[str, Array]:
        """Draw pairs, predict, and return both: losses are computed outside of `call`."""
        pair = self.synthesis(batch)
        prediction = self.model(pair[self.entry_x], training=training)
        return {"target": pair[self.entry_y], "prediction": prediction}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Array:
        """Compare the prediction with the drawn target."""
        target, prediction = y_pred["target"], y_pred["prediction"]
        return super().compute_loss(x, target, prediction, sample_weight, training)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Array]:
        """Update the metrics of `compile` with the drawn target."""
        return super().compute_metrics(x, y_pred["target"], y_pred["prediction"], sample_weight)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluate on a stream."""
        self.bind(x)
        return super().evaluate(x, *args, **kwargs)

    def bind(self, stream: Any) -> None:
        """Draw by a stream's own layer from now on; the indices it hands over are of its bank."""
        layer = getattr(stream, "layer", None)
        if layer is None or layer is self.synthesis:
            return
        del self.synthesis
        self.synthesis = layer
        self.train_function = self.test_function = self.predict_function = None

    def get_config(self) -> dict[str, Any]:
        """The wrapped model and the layer that draws."""
        parts = {"model": self.model, "stream": self.synthesis}
        own = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**super().get_config(), **own, "x": self.entry_x, "y": self.entry_y}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "WithSynthesis":
        """Rebuild both parts."""
        parts = {
            name: keras.saving.deserialize_keras_object(config.pop(name), custom_objects)
            for name in ("model", "stream")
        }
        return cls(**parts, **config)
