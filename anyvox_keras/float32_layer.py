"""Layers whose numbers must not be rounded."""

from typing import Any

import keras


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
