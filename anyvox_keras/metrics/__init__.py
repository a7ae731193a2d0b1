"""Metrics of segmentation and registration, on the host."""

from anyvox_keras.metrics.dice import dice, mean_dice
from anyvox_keras.metrics.hd95 import hd95
from anyvox_keras.metrics.jacobian import folds_percent, jacobian, sd_log_jacobian
from anyvox_keras.metrics.target_registration_error import target_registration_error

__all__ = [
    "dice",
    "folds_percent",
    "hd95",
    "jacobian",
    "mean_dice",
    "sd_log_jacobian",
    "target_registration_error",
]
