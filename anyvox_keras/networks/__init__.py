"""Networks: the 3D UNet, its layers, presets, and PyTorch checkpoints."""

from anyvox_keras.networks import convert
from anyvox_keras.networks.architectures import ARCHITECTURES
from anyvox_keras.networks.presets import DEFAULT, preset_metadata, preset_names
from anyvox_keras.networks.unet import UNet

__all__ = [
    "ARCHITECTURES",
    "DEFAULT",
    "UNet",
    "convert",
    "preset_metadata",
    "preset_names",
]
