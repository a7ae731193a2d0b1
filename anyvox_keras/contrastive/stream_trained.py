"""The base of models that train on a stream's layer."""

from pathlib import Path
from typing import Any

import keras

from anyvox_keras.contrastive.bound_layer import BoundLayer

BACKBONE = "backbone"


class StreamTrained(keras.Model):
    """A model whose training graph takes in the layer of the stream it is fitted on.

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
        self.backbone.save_to_preset(folder / BACKBONE, facts)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as the saved model was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train as `keras.Model.fit`, binding `x.layer` if `x` is a stream.

        A stream's order is kept (`shuffle=False`), so that a run can be repeated and resumed.
        """
        self.bind(x)
        if self._bound is not None:
            kwargs.setdefault("shuffle", False)
        return super().fit(x, *args, **kwargs)

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
