"""A trained network from its files."""

import os
from pathlib import Path
from typing import Any

import keras

from anyvox_keras.errors import UserError, reading
from anyvox_keras.training.checkpoint import BEST
from anyvox_keras.voxelmorph.trainer import NETWORK
from anyvox_keras.voxelmorph.voxelmorph import VoxelMorph


def load_network(source: str | os.PathLike[str], dtype: Any = None) -> VoxelMorph:
    """Load a trained network.

    Args:
        source: A run's folder, whose best weights are taken (its last, before a validation); a
            `.keras` file; or an `.h5` file of VoxelMorph's TensorFlow line.
        dtype: Dtype policy; None takes the global one.

    Raises:
        UserError: If there is none, or it is another network.

    Example:
        ```python
        VoxelMorph(encoder=(4, 8), decoder=(8, 4, 4)).save("network.keras")
        model = load_network("network.keras")
        ```
    """
    path = Path(source)
    if path.is_dir():
        if not (path / NETWORK).exists():
            raise UserError(f"{path}: expected a run of `anyvox voxelmorph train`, with a network")
        network = _load(path / NETWORK, dtype)
        if (path / BEST).exists():
            network.load_weights(path / BEST)
        return network
    if not path.exists():
        raise UserError(f"{path}: expected a run's folder or a file of weights, which is absent")
    if path.suffix == ".h5":
        return VoxelMorph.from_voxelmorph(path)
    return _load(path, dtype)


def _load(path: Path, dtype: Any) -> VoxelMorph:
    with reading(path, "a network"):
        found = keras.models.load_model(path, compile=False)
    if not isinstance(found, VoxelMorph):
        raise UserError(f"{path}: expected a VoxelMorph, received a {type(found).__name__}")
    config = {**found.get_config(), "dtype": dtype}
    network = VoxelMorph.from_config(config)
    network.set_weights(found.get_weights())
    return network
