"""Files of a network's weights: HDF5 as Keras writes it, whole or half, and safetensors."""

import math
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError, one_line
from anyvox_keras.extras import load_extra
from anyvox_keras.io import atomic, require_room

HDF5, SAFETENSORS = "model.weights.h5", "model.safetensors"


def save_weights(network: keras.Model, path: Path, half: bool = False) -> None:
    """Write weights whole or not at all, in the format of the path's name.

    Args:
        network: Whose.
        path: Ends with `.weights.h5` or `.safetensors`.
        half: Whether float32 is stored as float16.

    Raises:
        OSError: If the disk is full.
    """
    with atomic(path) as temporary:
        # the layout of HDF5 takes some kB for each array
        size = sum(4 * math.prod(weight.shape) + 4096 for weight in network.weights)
        require_room(path, 2 * size if half else size)
        if path.suffix == ".safetensors":
            arrays = _named(network)
            if half:
                arrays = {name: _halved(array) for name, array in arrays.items()}
            load_extra("safetensors.numpy", "a safetensors file").save_file(arrays, temporary)
            return
        network.save_weights(temporary)
        if half:
            _halve(temporary)


def load_weights(network: keras.Model, path: Path) -> None:
    """Fill a network with what `save_weights` wrote for one of its architecture.

    Raises:
        UserError: If the file is damaged, of another architecture, or holds NaN or infinity.
    """
    try:
        if path.suffix == ".safetensors":
            stored = load_extra("safetensors.numpy", "a safetensors file").load_file(path)
            network.set_weights([stored[name] for name in _named(network)])
        else:
            network.load_weights(path)
    except UserError:
        raise
    # a foreign file makes readers raise whatever they like
    except Exception as error:
        reason = one_line(error)[:160]
        raise UserError(f"{path}: cannot be loaded ({reason})") from error
    for weight in network.weights:
        if not np.isfinite(to_numpy(weight).astype("float32")).all():
            raise UserError(f"{path}: expected finite weights, received NaN or infinity")


def _named(network: keras.Model) -> dict[str, np.ndarray]:
    """Name weights by their number and what they are; layers' names differ between sessions."""
    weights = enumerate(network.weights)
    return {f"{n:04d}.{w.name}": np.ascontiguousarray(to_numpy(w)) for n, w in weights}


def _halved(array: Any) -> Any:
    return array.astype("float16") if array.dtype == np.float32 else array


def _halve(path: Path) -> None:
    """Rewrite a weights file with float16 in place of float32, without the space that freed."""

    def copy(source: h5py.Group, target: h5py.Group) -> None:
        target.attrs.update(source.attrs)
        for name, item in source.items():
            if isinstance(item, h5py.Group):
                copy(item, target.create_group(name))
            else:
                target.create_dataset(name, data=_halved(item[()]))

    rewritten = path.with_name(f"half-{path.name}")
    with h5py.File(path) as source, h5py.File(rewritten, "w") as target:
        copy(source, target)
    rewritten.replace(path)
