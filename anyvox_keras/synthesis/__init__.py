"""Synthetic volumes: label maps, their appearance, augmentation, and streams for `fit`."""

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
from anyvox_keras.synthesis.augmentation.spatial import (
    AffineAugmentation,
    RandomCrop,
    SpatialAugmentation,
)
from anyvox_keras.synthesis.augmentation.train_time_augmentation import (
    TrainTimeAugmentation,
    percentile_rescale,
)
from anyvox_keras.synthesis.labels.foreground_mask import ForegroundMask
from anyvox_keras.synthesis.labels.label_ensemble import LabelEnsemble
from anyvox_keras.synthesis.labels.whole_maps import WholeMaps
from anyvox_keras.synthesis.store import PairFile, PairFolder
from anyvox_keras.synthesis.stream.synthetic_stream import SyntheticPairs, SyntheticStream
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
    "WholeMaps",
    "WithSynthesis",
    "percentile_rescale",
    "rescale",
]
