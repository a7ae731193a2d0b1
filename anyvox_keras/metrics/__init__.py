"""Metrics of segmentation and registration, on the host."""

from anyvox_keras.metrics.measures import (
    dice,
    folds_percent,
    hd95,
    jacobian,
    mean_dice,
    sd_log_jacobian,
    target_registration_error,
)

__all__ = [
    "dice",
    "folds_percent",
    "hd95",
    "jacobian",
    "mean_dice",
    "sd_log_jacobian",
    "target_registration_error",
]
