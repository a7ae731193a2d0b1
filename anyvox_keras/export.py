"""What the package's Keras classes share: one decorator, and a base of layers in float32."""

from typing import Any, TypeVar

import keras

from anyvox_keras.saving import PACKAGE

Class = TypeVar("Class", bound=type)


def export(cls: Class) -> Class:
    """Register `cls` with Keras under this package's name, so that saved models load it.

    Unregistered classes are saved without complaint but cannot be loaded.
    """
    registered: Class = keras.saving.register_keras_serializable(package=PACKAGE)(cls)
    return registered


class Float32Layer(keras.layers.Layer):
    """A layer that computes in float32 under any global policy, as coordinates and draws demand.

    Args:
        dtype: None or float32.
        **kwargs: Further arguments of `keras.layers.Layer`.

    Raises:
        ValueError: If `dtype` asks for other computations than float32.
    """

    def __init__(self, *, dtype: Any = None, **kwargs: Any) -> None:
        policy = keras.dtype_policies.get(dtype or "float32")
        if policy.compute_dtype != "float32":
            raise ValueError(
                f"`dtype` must be float32: {type(self).__name__} computes in no other. "
                f"Received: dtype={policy.name!r}"
            )
        super().__init__(dtype=policy, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config: dict[str, Any] = super().get_config()
        # Subclasses that turn it off do so themselves.
        config.pop("autocast", None)
        return config
