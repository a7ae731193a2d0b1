"""Losses that compare intensities, by the names of the settings."""

from anyvox_keras.registration.losses import LocalNCCLoss, MINDLoss, MutualInformationLoss

IMAGE_LOSSES = {"mind": MINDLoss, "mi": MutualInformationLoss, "ncc": LocalNCCLoss}
