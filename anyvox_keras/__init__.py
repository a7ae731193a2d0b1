"""3D features that ignore contrast, scanner and organ, learnt from synthetic shapes alone."""

from anyvox_keras import random
from anyvox_keras.contrastive import ContrastivePretrainer, MultiPositiveContrastiveLoss
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.networks import UNet
from anyvox_keras.registration import Registration, register
from anyvox_keras.synthesis import (
    Appearance,
    LabelEnsemble,
    PairedViews,
    SyntheticStream,
    WithSynthesis,
)
from anyvox_keras.templates import TemplateBank

__version__ = "0.1.0"

__all__ = [
    "Appearance",
    "ContrastivePretrainer",
    "FeatureExtractor",
    "LabelEnsemble",
    "MultiPositiveContrastiveLoss",
    "PairedViews",
    "Registration",
    "SyntheticStream",
    "TemplateBank",
    "UNet",
    "WithSynthesis",
    "random",
    "register",
]
