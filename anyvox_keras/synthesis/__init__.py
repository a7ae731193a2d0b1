"""Labels, appearance and views."""

from anyvox_keras.synthesis.appearance import Appearance, PairedViews
from anyvox_keras.synthesis.augmentation import TrainTimeAugmentation
from anyvox_keras.synthesis.foreground_mask import ForegroundMask
from anyvox_keras.synthesis.label_ensemble import LabelEnsemble
from anyvox_keras.synthesis.pairs import SyntheticPairs
from anyvox_keras.synthesis.stream import SyntheticStream
from anyvox_keras.synthesis.with_synthesis import WithSynthesis

__all__ = [
    "Appearance",
    "ForegroundMask",
    "LabelEnsemble",
    "PairedViews",
    "SyntheticPairs",
    "SyntheticStream",
    "TrainTimeAugmentation",
    "WithSynthesis",
]
