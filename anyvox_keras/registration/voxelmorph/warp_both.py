"""From a velocity to both warped images."""

from typing import Any

import keras

from anyvox_keras.networks.crop_like import CropLike
from anyvox_keras.registration.voxelmorph.conventions import CONVENTIONS
from anyvox_keras.registration.voxelmorph.integrate_velocity import IntegrateVelocity
from anyvox_keras.registration.voxelmorph.rescale_displacement import RescaleDisplacement
from anyvox_keras.registration.voxelmorph.spatial_transformer import SpatialTransformer

FLOAT32 = "float32"


def warp_both(config: dict[str, Any], velocity: Any, fixed: Any, moving: Any) -> dict[str, Any]:
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
    return RescaleDisplacement(factor, name=name)


def _one_way(
    config: dict[str, Any], names: tuple[str, str], velocity: Any, moving: Any, fixed: Any
) -> dict[str, Any]:
    field, image = names
    outside = CONVENTIONS[config["conventions"]].outside
    u = IntegrateVelocity(config["steps"], outside, name=f"{field}_integral")(velocity)
    u = rescaled(f"{field}_rescaled", config["integration_stride"])(u)
    u = CropLike(dtype=FLOAT32, name=field)(u, fixed)
    return {field: u, image: SpatialTransformer(outside=outside, name=image)([moving, u])}
