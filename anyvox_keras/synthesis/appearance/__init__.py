"""How images of a label map look: one effect per file."""

from anyvox_keras.synthesis.appearance.appearance import Appearance
from anyvox_keras.synthesis.appearance.bias_field import BiasField
from anyvox_keras.synthesis.appearance.cut_out import CutOut
from anyvox_keras.synthesis.appearance.effect import Effect
from anyvox_keras.synthesis.appearance.gamma_contrast import GammaContrast
from anyvox_keras.synthesis.appearance.gaussian_blur import GaussianBlur
from anyvox_keras.synthesis.appearance.gaussian_mixture import GaussianMixture
from anyvox_keras.synthesis.appearance.ghosting import Ghosting
from anyvox_keras.synthesis.appearance.inversion import Inversion
from anyvox_keras.synthesis.appearance.k_space import GibbsRinging, KSpaceSpike
from anyvox_keras.synthesis.appearance.log_gamma import LogGamma
from anyvox_keras.synthesis.appearance.low_resolution import LowResolution
from anyvox_keras.synthesis.appearance.motion import Motion
from anyvox_keras.synthesis.appearance.noise import GaussianNoise, RicianNoise
from anyvox_keras.synthesis.appearance.paired_views import PairedViews
from anyvox_keras.synthesis.appearance.rescale import rescale
from anyvox_keras.synthesis.appearance.sharpen import Sharpen
from anyvox_keras.synthesis.appearance.texture import Texture
from anyvox_keras.synthesis.appearance.thick_slices import ThickSlices

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
