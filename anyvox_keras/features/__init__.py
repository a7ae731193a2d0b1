"""Features of real volumes, whole or by sliding windows."""

from anyvox_keras.features.feature_extractor import FeatureExtractor
from anyvox_keras.features.sliding_window import sliding_window, sliding_window_slabs

__all__ = [
    "FeatureExtractor",
    "sliding_window",
    "sliding_window_slabs",
]
