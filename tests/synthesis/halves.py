"""The two halves of a layer, compiled: one operation at a time, JAX compiles each."""

from typing import Any

import numpy as np
from keras import ops, tree

from anyvox_keras.backend import compiled, to_numpy


def drawn(layer: Any, keys: np.ndarray, shape: tuple[int, ...] | None = None) -> Any:
    """Sample parameters, as numpy."""
    sample = compiled(lambda keys: layer.sample(keys, shape))
    return tree.map_structure(to_numpy, sample(ops.convert_to_tensor(keys)))


def applied(layer: Any, x: Any, params: Any) -> Any:
    """Apply parameters, as numpy; a tuple is a static shape."""
    params = tree.map_structure(ops.convert_to_tensor, params)
    if isinstance(x, tuple):
        return to_numpy(compiled(lambda params: layer.apply(x, params))(params))
    x = tree.map_structure(ops.convert_to_tensor, x)
    return tree.map_structure(to_numpy, compiled(layer.apply)(x, params))
