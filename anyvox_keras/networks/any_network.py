"""Any Keras model as a network: what it takes and gives, a copy of it, and it as plain data."""

import base64
import io
import zlib
from typing import Any

import keras
import numpy as np

# voxels per axis at which a network that was never built is built: many strides divide it
_SIDE = 32


def volume_shape(network: keras.Model) -> tuple[Any, ...]:
    """Return `(None, D, H, W, C)` that the network takes; None for sides that are free.

    A functional or sequential model says it itself. A subclassed one remembers what it was built
    on; if it never was, it is built here, on 32 voxels per axis and one channel.

    Args:
        network: Any Keras model of one volume.

    Raises:
        ValueError: If it takes several inputs, or no volumes.
    """
    shape = getattr(network, "input_shape", None) if _has_graph(network) else _built_on(network)
    if not isinstance(shape, (tuple, list)) or len(shape) != 5 or not _all_numbers(shape):
        raise ValueError(
            f"`{network.name}` must take one batch of volumes (B, D, H, W, C). "
            f"Received: input_shape={shape}"
        )
    return (None, *shape[1:])


def fixed_sides(network: keras.Model) -> tuple[int, int, int] | None:
    """Return the sides `(D, H, W)` that a network insists on, or None if any volume will do.

    Only a model that has its graph insists; a subclassed one is believed to take any.

    Args:
        network: A Keras model, or whatever else computes features.
    """
    if not isinstance(network, keras.Model) or not _has_graph(network):
        return None
    shape = getattr(network, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 5 or None in shape[1:4]:
        return None
    return (shape[1], shape[2], shape[3])


def input_channels(network: keras.Model) -> int | None:
    """Return the channels of the volumes that a network takes, or None if that is not known."""
    shape = getattr(network, "input_shape", None)
    return shape[-1] if isinstance(shape, tuple) else None


def output_channels(network: keras.Model) -> int:
    """Return the channels of the array that a network gives for a volume."""
    if _has_graph(network):
        return int(network.output_shape[-1])
    return int(network(symbolic_volume(network)).shape[-1])


def symbolic_volume(network: keras.Model) -> Any:
    """Return one volume without values that a network can be called on, to learn shapes."""
    *sides, channels = volume_shape(network)[1:]
    # A batch of one: where the backend has no symbols, Keras calls the network on numbers.
    return keras.Input(batch_shape=(1, *(side or _SIDE for side in sides), channels or 1))


def _has_graph(network: keras.Model) -> bool:
    return bool(getattr(network, "outputs", None))


def _built_on(network: keras.Model) -> Any:
    if not network.built:
        # Not by `build`, which most subclassed models leave undefined: by a symbolic call.
        network.build_from_config({"input_shape": (1, _SIDE, _SIDE, _SIDE, 1)})
    return (network.get_build_config() or {}).get("input_shape")


def _all_numbers(shape: Any) -> bool:
    return all(side is None or isinstance(side, int) for side in shape)


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
