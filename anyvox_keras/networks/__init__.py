"""Networks: the 3D UNet, its layers, presets, and PyTorch checkpoints."""

from typing import TYPE_CHECKING

from anyvox_keras.lazy import lazy

if TYPE_CHECKING:
    from anyvox_keras.networks import convert as convert
    from anyvox_keras.networks.architectures import (
        ARCHITECTURES as ARCHITECTURES,
        DEFAULT as DEFAULT,
        VIT as VIT,
    )
    from anyvox_keras.networks.exporting import export_network as export_network
    from anyvox_keras.networks.hub import upload_preset as upload_preset
    from anyvox_keras.networks.presets import (
        load_network as load_network,
        preset_metadata as preset_metadata,
        preset_names as preset_names,
        save_preset as save_preset,
    )
    from anyvox_keras.networks.unet import UNet as UNet
    from anyvox_keras.networks.vit import ViT as ViT

lazy(__name__)
