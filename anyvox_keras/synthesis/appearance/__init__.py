"""How images of a label map look: one effect per file."""

from anyvox_keras.synthesis.appearance.appearance import Appearance, PairedViews
from anyvox_keras.synthesis.appearance.contrast import GammaContrast, Inversion, LogGamma
from anyvox_keras.synthesis.appearance.effect import Effect, rescale
from anyvox_keras.synthesis.appearance.intensity import BiasField, GaussianMixture, Texture
from anyvox_keras.synthesis.appearance.k_space import Ghosting, GibbsRinging, KSpaceSpike, Motion
from anyvox_keras.synthesis.appearance.noise import CutOut, GaussianNoise, RicianNoise
from anyvox_keras.synthesis.appearance.resolution import (
    GaussianBlur,
    LowResolution,
    Sharpen,
    ThickSlices,
)

__all__ = [
    "Appearance",
    "BiasField",
    "CutOut",
    "Effect",
    "GammaContrast",
    "GaussianBlur",
    "GaussianMixture",
    "GaussianNoise",
    "Ghosting",
    "GibbsRinging",
    "Inversion",
    "KSpaceSpike",
    "LogGamma",
    "LowResolution",
    "Motion",
    "PairedViews",
    "RicianNoise",
    "Sharpen",
    "Texture",
    "ThickSlices",
    "rescale",
]
