"""Train-time augmentation: what training does to pairs after their synthesis."""

from anyvox_keras.synthesis.augmentation.spatial import (
    AffineAugmentation,
    RandomCrop,
    SpatialAugmentation,
)
from anyvox_keras.synthesis.augmentation.train_time_augmentation import (
    TrainTimeAugmentation,
    percentile_rescale,
)

__all__ = [
    "AffineAugmentation",
    "RandomCrop",
    "SpatialAugmentation",
    "TrainTimeAugmentation",
    "percentile_rescale",
]
