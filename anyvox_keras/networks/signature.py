"""What a network takes and gives, whether Keras has its graph or only its `call`."""

from typing import Any

import keras

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
