"""Keras layers of registration networks."""

from anyvox_keras.registration.layers.correlation import Correlation, MINDChannels
from anyvox_keras.registration.layers.displacement import (
    ComposeTransforms,
    IntegrateVelocity,
    RescaleDisplacement,
    SpatialTransformer,
)

__all__ = [
    "ComposeTransforms",
    "Correlation",
    "IntegrateVelocity",
    "MINDChannels",
    "RescaleDisplacement",
    "SpatialTransformer",
]
