"""What is compared: MIND, network features, masks."""

from anyvox_keras.registration.descriptors.known_features import known_features
from anyvox_keras.registration.descriptors.mind import mind_ssc
from anyvox_keras.registration.descriptors.pair_features import (
    FeatureSettings,
    image_features,
    masked_image,
)

__all__ = [
    "FeatureSettings",
    "image_features",
    "known_features",
    "masked_image",
    "mind_ssc",
]
