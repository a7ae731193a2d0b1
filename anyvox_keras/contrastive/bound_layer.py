"""A layer that a model uses but does not own."""

from typing import Any

import keras


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
