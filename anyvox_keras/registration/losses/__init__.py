"""Losses of registration, for Keras `fit`, for PyTorch loops and for single pairs."""

from anyvox_keras.registration.losses.registration_loss import as_torch_module
from anyvox_keras.registration.losses.regularization import (
    BendingEnergy,
    GradientPenalty,
    InverseConsistencyLoss,
)
from anyvox_keras.registration.losses.similarity import (
    DiceLoss,
    FeatureLoss,
    LocalNCCLoss,
    MINDLoss,
    MutualInformationLoss,
)

__all__ = [
    "BendingEnergy",
    "DiceLoss",
    "FeatureLoss",
    "GradientPenalty",
    "InverseConsistencyLoss",
    "LocalNCCLoss",
    "MINDLoss",
    "MutualInformationLoss",
    "as_torch_module",
]
