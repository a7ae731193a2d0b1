"""VoxelMorph's layers put together, and what differs between its releases."""

import secrets
from dataclasses import dataclass
from typing import Any

import keras

from anyvox_keras.networks.initializers import AroundZero, KaimingNormal
from anyvox_keras.networks.layers import CropLike, ReflectPadToMultiple, UpSample, ZeroConv3D
from anyvox_keras.registration import layers
from anyvox_keras.types import Array, Outside, Upsampling

FLOAT32 = "float32"


@dataclass(frozen=True)
class Conventions:
    """Details that weights of a release count on.

    Args:
        upsampling: Of the decoder: a method of `UpSample`.
        projection: Whether a 1x1x1 convolution to three channels precedes the flow.
        outside: What a warp or composition reads beyond the grid.
        slope: Of the leaky ReLU below zero.
    """

    upsampling: Upsampling
    projection: bool
    outside: Outside
    slope: float


CONVENTIONS = {
    "0.3": Conventions("corners", projection=True, outside="zeros", slope=0.0),
    "0.2": Conventions("nearest", projection=False, outside="edge", slope=0.2),
}


class Graph:
    """Lays out UNet and flow, and what follows; `convolutions` names the weights in order."""

    def __init__(self, config: dict[str, Any], policy: Any) -> None:
        self.config = config
        self.policy = policy
        self.conventions = CONVENTIONS[config["conventions"]]
        self.seed = secrets.randbits(31) if config["seed"] is None else config["seed"]
        self.convolutions: list[str] = []
        fixed, moving = config["channels"]
        self.inputs = {
            "fixed": keras.Input((None, None, None, fixed), name="fixed"),
            "moving": keras.Input((None, None, None, moving), name="moving"),
        }
        self.outputs = self._lay_out(**self.inputs)

    def _lay_out(self, fixed: keras.KerasTensor, moving: keras.KerasTensor) -> dict[str, Any]:
        # VoxelMorph's source, which moves, comes first.
        seen = [moving, fixed]
        if self.config["mind"]:
            seen = [layers.MINDChannels(name=f"{x.name}_channels")(x) for x in seen]
        x = keras.layers.Concatenate(dtype=self.policy, name="pair")(seen)
        flow = self._flow(self._unet(x, self._matches(*seen)))
        stride = self.config["flow_stride"] / self.config["integration_stride"]
        return warp_both(self.config, rescaled("velocity", stride)(flow), fixed, moving)

    def _matches(self, moving: Array, fixed: Array) -> dict[int, Any]:
        """Where the images match, by the stride of the grid on which that is told."""
        if not self.config["correlation"]:
            return {}
        # Descriptors are compared without the image's own channel.
        first = 1 if self.config["mind"] else 0
        pad = ReflectPadToMultiple(self._multiple, dtype=FLOAT32, name="correlation_pad")
        compared = [pad(x[..., first:]) for x in (fixed, moving)]
        return {
            stride: layers.Correlation(stride, name=f"correlation_{stride}")(compared)
            for stride in self.config["correlation"]
        }

    @property
    def _multiple(self) -> int:
        return 2 ** len(self.config["encoder"])

    def _unet(self, x: Array, matches: dict[int, Any]) -> Array:
        encoder, decoder = self.config["encoder"], self.config["decoder"]
        x = ReflectPadToMultiple(self._multiple, dtype=self.policy, name="pad")(x)
        skips = []
        for level, filters in enumerate(encoder, 1):
            if (stride := 2 ** (level - 1)) in matches:
                x = self._join(f"encoder_{level}", [x, matches[stride]])
            x = self._block(x, f"encoder_{level}", filters)
            skips.append(x)
            x = keras.layers.MaxPooling3D(
                2, data_format="channels_last", dtype=self.policy, name=f"encoder_{level}_pool"
            )(x)
        doublings = len(encoder) - (self.config["flow_stride"].bit_length() - 1)
        for level, filters in enumerate(decoder, 1):
            x = self._block(x, f"decoder_{level}", filters)
            if level <= doublings:
                x = self._up(x, skips.pop(), f"decoder_{level}")
        return x

    def _block(self, x: Array, name: str, filters: int) -> Array:
        x = self._conv(name, filters, KaimingNormal([self.seed, len(self.convolutions)]))(x)
        slope = self.config["slope"]
        return keras.layers.LeakyReLU(slope, dtype=self.policy, name=f"{name}_act")(x)

    def _conv(self, name: str, filters: int, initial: Any, **kwargs: Any) -> ZeroConv3D:
        self.convolutions.append(name)
        arguments = {"dtype": self.policy, "use_bias": True, **kwargs}
        return ZeroConv3D(filters, kernel_initializer=initial, name=name, **arguments)

    def _up(self, x: Array, skip: Array, name: str) -> Array:
        x = UpSample(self.conventions.upsampling, dtype=self.policy, name=f"{name}_up")(x)
        return self._join(name, [x, skip])

    def _join(self, name: str, parts: list[Any]) -> Array:
        return keras.layers.Concatenate(dtype=self.policy, name=f"{name}_join")(parts)

    def _flow(self, x: Array) -> Array:
        if self.conventions.projection:
            initial = KaimingNormal([self.seed, len(self.convolutions)])
            x = self._conv("projection", 3, initial, kernel_size=1, dtype=FLOAT32)(x)
        initial = AroundZero(seed=[self.seed, len(self.convolutions)])
        return self._conv("flow", 3, initial, dtype=FLOAT32)(x)


def warp_both(
    config: dict[str, Any], velocity: Array, fixed: Array, moving: Array
) -> dict[str, Any]:
    """Connect the layers behind a velocity; returns the outputs of `VoxelMorph`."""
    outputs = {"velocity": velocity}
    outputs |= _one_way(config, ("displacement", "moved"), velocity, moving, fixed)
    # A displacement that is not integrated has no inverse at hand.
    if config["steps"]:
        outputs |= _one_way(config, ("inverse", "moved_back"), -velocity, fixed, moving)
    return outputs


def rescaled(name: str, factor: float) -> keras.layers.Layer:
    """Make the layer that brings a field to another grid, where there is another."""
    if factor == 1:
        return keras.layers.Identity(dtype=FLOAT32, name=name)
    return layers.RescaleDisplacement(factor, name=name)


def _one_way(
    config: dict[str, Any], names: tuple[str, str], velocity: Array, moving: Array, fixed: Array
) -> dict[str, Any]:
    field, image = names
    outside = CONVENTIONS[config["conventions"]].outside
    u = layers.IntegrateVelocity(config["steps"], outside, name=f"{field}_integral")(velocity)
    u = rescaled(f"{field}_rescaled", config["integration_stride"])(u)
    u = CropLike(dtype=FLOAT32, name=field)(u, fixed)
    return {field: u, image: layers.SpatialTransformer(outside=outside, name=image)([moving, u])}
