"""Train-time augmentation: what training does to pairs after their synthesis."""

from anyvox_keras.synthesis.augmentation.affine_augmentation import AffineAugmentation
from anyvox_keras.synthesis.augmentation.percentile_rescale import percentile_rescale
from anyvox_keras.synthesis.augmentation.random_crop import RandomCrop
from anyvox_keras.synthesis.augmentation.spatial_augmentation import SpatialAugmentation
from anyvox_keras.synthesis.augmentation.train_time_augmentation import TrainTimeAugmentation

__all__ = [
    "AffineAugmentation",
    "RandomCrop",
    "SpatialAugmentation",
    "TrainTimeAugmentation",
    "percentile_rescale",
]
