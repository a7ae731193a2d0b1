"""Layers whose numbers must not be rounded."""

from typing import Any

import keras


class Float32Layer(keras.layers.Layer):
    """A layer that computes in float32 under any dtype policy, as displacements demand."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
