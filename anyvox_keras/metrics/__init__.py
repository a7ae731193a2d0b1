"""Metrics of segmentation and registration, on the host."""

from anyvox_keras.metrics.dice import dice, mean_dice
from anyvox_keras.metrics.distances import hd95, target_registration_error
from anyvox_keras.metrics.jacobian import folds_percent, jacobian, sd_log_jacobian

__all__ = [
    "dice",
    "folds_percent",
    "hd95",
    "jacobian",
    "mean_dice",
    "sd_log_jacobian",
    "target_registration_error",
]
