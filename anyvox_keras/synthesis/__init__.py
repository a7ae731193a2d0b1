"""Synthetic volumes: label maps, their appearance, augmentation, and streams for `fit`."""

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
from anyvox_keras.synthesis.augmentation.affine_augmentation import AffineAugmentation
from anyvox_keras.synthesis.augmentation.percentile_rescale import percentile_rescale
from anyvox_keras.synthesis.augmentation.random_crop import RandomCrop
from anyvox_keras.synthesis.augmentation.spatial_augmentation import SpatialAugmentation
from anyvox_keras.synthesis.augmentation.train_time_augmentation import TrainTimeAugmentation
from anyvox_keras.synthesis.labels.foreground_mask import ForegroundMask
from anyvox_keras.synthesis.labels.label_ensemble import LabelEnsemble
from anyvox_keras.synthesis.store.pair_file import PairFile
from anyvox_keras.synthesis.store.pair_folder import PairFolder
from anyvox_keras.synthesis.stream.synthetic_pairs import SyntheticPairs
from anyvox_keras.synthesis.stream.synthetic_stream import SyntheticStream
from anyvox_keras.synthesis.stream.with_synthesis import WithSynthesis

__all__ = [
    "AffineAugmentation",
    "Appearance",
    "BiasField",
    "CutOut",
    "Effect",
    "ForegroundMask",
    "GammaContrast",
    "GaussianBlur",
    "GaussianMixture",
    "GaussianNoise",
    "Ghosting",
    "GibbsRinging",
    "Inversion",
    "KSpaceSpike",
    "LabelEnsemble",
    "LogGamma",
    "LowResolution",
    "Motion",
    "PairFile",
    "PairFolder",
    "PairedViews",
    "RandomCrop",
    "RicianNoise",
    "Sharpen",
    "SpatialAugmentation",
    "SyntheticPairs",
    "SyntheticStream",
    "Texture",
    "ThickSlices",
    "TrainTimeAugmentation",
    "WithSynthesis",
    "percentile_rescale",
    "rescale",
]
