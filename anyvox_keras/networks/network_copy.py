"""A network twice: as a second one in memory, and as plain data that holds its weights."""

import base64
import io
import zlib
from typing import Any

import keras
import numpy as np


def copied(network: keras.Model) -> keras.Model:
    """Return a network of the same architecture and weights that shares neither with this one.

    Args:
        network: A `UNet`, or any model with `get_config`; a subclassed one is built.
    """
    copy = type(network).from_config(network.get_config())
    if not copy.built:
        copy.build_from_config(network.get_build_config())
    copy.set_weights(network.get_weights())
    return copy


def network_config(network: keras.Model) -> dict[str, Any]:
    """Return a network as JSON can hold it, its weights included.

    What is no layer, such as a loss, has no place of its own for weights in a `.keras` file.
    """
    file = io.BytesIO()
    np.savez(file, *network.get_weights())
    # Fast, and enough for weights that were stored as float16: half their bits are zero.
    packed = base64.b64encode(zlib.compress(file.getvalue(), 1)).decode("ascii")
    return {"network": keras.saving.serialize_keras_object(network), "weights": packed}


def network_from_config(config: dict[str, Any]) -> keras.Model:
    """Rebuild what `network_config` described."""
    network = keras.saving.deserialize_keras_object(config["network"])
    unpacked = io.BytesIO(zlib.decompress(base64.b64decode(config["weights"])))
    with np.load(unpacked, allow_pickle=False) as weights:
        network.set_weights([weights[name] for name in weights.files])
    return network
