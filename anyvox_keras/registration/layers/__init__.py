"""Keras layers of registration networks."""

from anyvox_keras.registration.layers.compose_transforms import ComposeTransforms
from anyvox_keras.registration.layers.correlation import Correlation
from anyvox_keras.registration.layers.integrate_velocity import IntegrateVelocity
from anyvox_keras.registration.layers.mind_channels import MINDChannels
from anyvox_keras.registration.layers.rescale_displacement import RescaleDisplacement
from anyvox_keras.registration.layers.spatial_transformer import SpatialTransformer

__all__ = [
    "ComposeTransforms",
    "Correlation",
    "IntegrateVelocity",
    "MINDChannels",
    "RescaleDisplacement",
    "SpatialTransformer",
]
