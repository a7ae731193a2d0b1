"""How images of a label map look: one effect a file."""

from anyvox_keras.synthesis.appearance.appearance import Appearance
from anyvox_keras.synthesis.appearance.bias_field import BiasField
from anyvox_keras.synthesis.appearance.cut_out import CutOut
from anyvox_keras.synthesis.appearance.effect import Effect
from anyvox_keras.synthesis.appearance.gamma_contrast import GammaContrast
from anyvox_keras.synthesis.appearance.gaussian_blur import GaussianBlur
from anyvox_keras.synthesis.appearance.gaussian_mixture import GaussianMixture
from anyvox_keras.synthesis.appearance.gaussian_noise import GaussianNoise
from anyvox_keras.synthesis.appearance.ghosting import Ghosting
from anyvox_keras.synthesis.appearance.gibbs_ringing import GibbsRinging
from anyvox_keras.synthesis.appearance.inversion import Inversion
from anyvox_keras.synthesis.appearance.k_space_spike import KSpaceSpike
from anyvox_keras.synthesis.appearance.log_gamma import LogGamma
from anyvox_keras.synthesis.appearance.low_resolution import LowResolution
from anyvox_keras.synthesis.appearance.motion import Motion
from anyvox_keras.synthesis.appearance.paired_views import PairedViews
from anyvox_keras.synthesis.appearance.rescale import rescale
from anyvox_keras.synthesis.appearance.rician_noise import RicianNoise
from anyvox_keras.synthesis.appearance.sharpen import Sharpen
from anyvox_keras.synthesis.appearance.texture import Texture
from anyvox_keras.synthesis.appearance.thick_slices import ThickSlices

__all__ = [
    "Appearance",
    "BiasField",
    "Effect",
    "GammaContrast",
    "GaussianBlur",
    "GaussianMixture",
    "GaussianNoise",
    "GibbsRinging",
    "KSpaceSpike",
    "LowResolution",
    "PairedViews",
    "Sharpen",
    "CutOut",
    "Ghosting",
    "Inversion",
    "LogGamma",
    "Motion",
    "RicianNoise",
    "ThickSlices",
    "Texture",
    "rescale",
]
