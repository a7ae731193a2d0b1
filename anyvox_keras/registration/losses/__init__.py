"""Losses of registration, for Keras `fit`, for PyTorch loops and for single pairs."""

from anyvox_keras.registration.losses.bending_energy import BendingEnergy
from anyvox_keras.registration.losses.dice_loss import DiceLoss
from anyvox_keras.registration.losses.feature_loss import FeatureLoss
from anyvox_keras.registration.losses.gradient_penalty import GradientPenalty
from anyvox_keras.registration.losses.inverse_consistency_loss import InverseConsistencyLoss
from anyvox_keras.registration.losses.local_ncc_loss import LocalNCCLoss
from anyvox_keras.registration.losses.mind_loss import MINDLoss
from anyvox_keras.registration.losses.mutual_information_loss import MutualInformationLoss
from anyvox_keras.registration.losses.torch_module import as_torch_module

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
