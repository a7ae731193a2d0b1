"""Label maps: templates placed, overlaid and masked."""

from anyvox_keras.synthesis.labels.foreground_mask import ForegroundMask
from anyvox_keras.synthesis.labels.label_ensemble import LabelEnsemble
from anyvox_keras.synthesis.labels.whole_maps import WholeMaps

__all__ = [
    "ForegroundMask",
    "LabelEnsemble",
    "WholeMaps",
]
