"""The base of trainers whose stream's layer is lent to them."""

from pathlib import Path
from typing import Any

import keras

from anyvox_keras.networks.presets import save_preset
from anyvox_keras.synthesis.stream.stream_model import StreamModel

BACKBONE = "backbone"


class StreamTrained(StreamModel):
    """A model that is lent the layer of the stream it is fitted on.

    Subclasses call `self._bound(batch, training=training)` where it is not None.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._bound: BoundLayer | None = None

    @property
    def own_variables(self) -> list[Any]:
        """Weights and statistics, without what belongs to a bound stream's layer."""
        lent = {id(v) for v in (self._bound.variables if self._bound else ())}
        return [variable for variable in self.variables if id(variable) not in lent]

    def save_network(self, folder: Path, facts: dict[str, Any]) -> None:
        """Leave what the training is for in a run's folder: the backbone, as a preset."""
        save_preset(self.backbone, folder / BACKBONE, facts)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as `keras.Model.evaluate`, binding `x.layer` if nothing is bound yet."""
        if self._bound is None:
            self.bind(x)
        return super().evaluate(x, *args, **kwargs)

    def bind(self, stream: Any) -> None:
        """Make a stream's layer part of the training graph."""
        layer = getattr(stream, "layer", None)
        if layer is None or (self._bound is not None and self._bound.lends(layer)):
            return
        self._bound = BoundLayer(layer)
        self.train_function = self.test_function = self.predict_function = None


class BoundLayer(keras.layers.Layer):
    """Lend a layer to a model: part of its graph and state, no part of its files.

    A stream's layer holds the shapes of its bank. A trained model must neither store them nor ask
    for them when it is loaded.

    Args:
        layer: The layer to lend.
    """

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__(trainable=False, dtype=layer.dtype_policy, name="bound_layer")
        self._lent = _Lent(layer)
        self.built = True

    def lends(self, layer: keras.layers.Layer) -> bool:
        """Whether it is this layer that is lent."""
        # A property that returned the layer would be followed, and saved, by Keras.
        return self._lent.layer is layer

    @property
    def variables(self) -> list[Any]:
        """The lent layer's variables, which the backend must see as this model's state."""
        return list(self._lent.layer.variables)

    def call(self, batch: dict[str, Any], training: bool | None = None) -> Any:
        """Call the lent layer."""
        return self._lent.layer(batch, training=training)


class _Lent:
    """Hides a layer from Keras's attribute tracking."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        self.layer = layer
