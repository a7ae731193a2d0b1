"""Labels, appearance and views."""

from anyvox_keras.synthesis.foreground_mask import ForegroundMask
from anyvox_keras.synthesis.label_ensemble import LabelEnsemble

__all__ = ["ForegroundMask", "LabelEnsemble"]
