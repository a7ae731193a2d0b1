"""3D features that ignore contrast, scanner and organ, learnt from synthetic shapes alone."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors; at run time names load when they are used
    from anyvox_keras.contrastive import ContrastivePretrainer, MultiPositiveContrastiveLoss
    from anyvox_keras.features import FeatureExtractor
    from anyvox_keras.networks import UNet
    from anyvox_keras.registration import FeatureLoss, Registration
    from anyvox_keras.registration.register import register
    from anyvox_keras.segmentation import Segmenter
    from anyvox_keras.synthesis import (
        Appearance,
        LabelEnsemble,
        PairedViews,
        SyntheticStream,
        WithSynthesis,
    )
    from anyvox_keras.templates import TemplateBank
    from anyvox_keras.voxelmorph import VoxelMorph

__version__ = "0.1.0"

_HOME = {
    "Appearance": "synthesis",
    "ContrastivePretrainer": "contrastive",
    "FeatureExtractor": "features",
    "FeatureLoss": "registration",
    "LabelEnsemble": "synthesis",
    "MultiPositiveContrastiveLoss": "contrastive",
    "PairedViews": "synthesis",
    "Registration": "registration",
    "Segmenter": "segmentation",
    "SyntheticStream": "synthesis",
    "TemplateBank": "templates",
    "UNet": "networks",
    "VoxelMorph": "voxelmorph",
    "WithSynthesis": "synthesis",
    "register": "registration",
}
#: folders that are reached as `avx.random`, `avx.metrics` ...
_FOLDERS = (
    "backend",
    "contrastive",
    "features",
    "geometry",
    "io",
    "metrics",
    "networks",
    "ops",
    "pictures",
    "random",
    "registration",
    "segmentation",
    "synthesis",
    "templates",
    "training",
    "voxelmorph",
)

__all__ = [
    "Appearance",
    "ContrastivePretrainer",
    "FeatureExtractor",
    "FeatureLoss",
    "LabelEnsemble",
    "MultiPositiveContrastiveLoss",
    "PairedViews",
    "Registration",
    "Segmenter",
    "SyntheticStream",
    "TemplateBank",
    "UNet",
    "VoxelMorph",
    "WithSynthesis",
    "register",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is used: `anyvox --help` needs no Keras."""
    if name in _FOLDERS:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, *_FOLDERS]
