"""Networks: the 3D UNet, its layers, presets, and PyTorch checkpoints."""

from anyvox_keras.networks import convert
from anyvox_keras.networks.architectures import ARCHITECTURES
from anyvox_keras.networks.presets import preset_names
from anyvox_keras.networks.unet import UNet

__all__ = ["ARCHITECTURES", "UNet", "convert", "preset_names"]
