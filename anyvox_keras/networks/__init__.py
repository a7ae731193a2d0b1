"""Networks: the 3D UNet, its layers, presets, and PyTorch checkpoints."""

from anyvox_keras.networks.unet import UNet

__all__ = ["UNet"]
