"""How VoxelMorph's layers are connected."""

import secrets
from typing import Any

import keras

from anyvox_keras.networks.crop_like import CropLike
from anyvox_keras.networks.initializers import AroundZero, KaimingNormal
from anyvox_keras.networks.reflect_pad_to_multiple import ReflectPadToMultiple
from anyvox_keras.networks.upsample import UpSample
from anyvox_keras.networks.zero_conv3d import ZeroConv3D
from anyvox_keras.registration.voxelmorph.conventions import CONVENTIONS
from anyvox_keras.registration.voxelmorph.integrate_velocity import IntegrateVelocity
from anyvox_keras.registration.voxelmorph.rescale_displacement import RescaleDisplacement
from anyvox_keras.registration.voxelmorph.spatial_transformer import SpatialTransformer

FLOAT32 = "float32"


class Graph:
    """Lays out UNet, flow, integration and warps; `convolutions` names the weights in order."""

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

    def _lay_out(self, fixed: Any, moving: Any) -> dict[str, Any]:
        # VoxelMorph's source, which moves, comes first.
        x = keras.layers.Concatenate(dtype=self.policy, name="pair")([moving, fixed])
        flow = self._flow(self._unet(x))
        inner, outer = self.config["integration_stride"], self.config["flow_stride"]
        velocity = self._rescale("velocity", outer / inner)(flow)
        outputs = {"velocity": velocity}
        outputs |= self._one_way("displacement", "moved", velocity, moving, fixed)
        # A displacement that is not integrated has no inverse at hand.
        if self.config["steps"]:
            outputs |= self._one_way("inverse", "moved_back", -velocity, fixed, moving)
        return outputs

    def _unet(self, x: Any) -> Any:
        encoder, decoder = self.config["encoder"], self.config["decoder"]
        x = ReflectPadToMultiple(2 ** len(encoder), dtype=self.policy, name="pad")(x)
        skips = []
        for level, filters in enumerate(encoder, 1):
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

    def _block(self, x: Any, name: str, filters: int) -> Any:
        x = self._conv(name, filters, KaimingNormal([self.seed, len(self.convolutions)]))(x)
        slope = self.config["slope"]
        return keras.layers.LeakyReLU(slope, dtype=self.policy, name=f"{name}_act")(x)

    def _conv(self, name: str, filters: int, initial: Any, **kwargs: Any) -> ZeroConv3D:
        self.convolutions.append(name)
        arguments = {"dtype": self.policy, "use_bias": True, **kwargs}
        return ZeroConv3D(filters, kernel_initializer=initial, name=name, **arguments)

    def _up(self, x: Any, skip: Any, name: str) -> Any:
        x = UpSample(self.conventions.upsampling, dtype=self.policy, name=f"{name}_up")(x)
        return keras.layers.Concatenate(dtype=self.policy, name=f"{name}_join")([x, skip])

    def _flow(self, x: Any) -> Any:
        if self.conventions.projection:
            initial = KaimingNormal([self.seed, len(self.convolutions)])
            x = self._conv("projection", 3, initial, kernel_size=1, dtype=FLOAT32)(x)
        initial = AroundZero(seed=[self.seed, len(self.convolutions)])
        return self._conv("flow", 3, initial, dtype=FLOAT32)(x)

    def _rescale(self, name: str, factor: float) -> keras.layers.Layer:
        if factor == 1:
            return keras.layers.Identity(dtype=FLOAT32, name=name)
        return RescaleDisplacement(factor, name=name)

    def _one_way(
        self, field: str, image: str, velocity: Any, moving: Any, fixed: Any
    ) -> dict[str, Any]:
        outside = self.conventions.outside
        u = IntegrateVelocity(self.config["steps"], outside, name=f"{field}_integral")(velocity)
        u = self._rescale(f"{field}_rescaled", self.config["integration_stride"])(u)
        u = CropLike(dtype=FLOAT32, name=field)(u, fixed)
        return {field: u, image: SpatialTransformer(outside=outside, name=image)([moving, u])}
