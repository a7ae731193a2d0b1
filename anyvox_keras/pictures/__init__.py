"""Pictures of volumes, features and registrations, by matplotlib."""

from anyvox_keras.pictures.cases_picture import CasePicture, cases_picture
from anyvox_keras.pictures.drawing import checkerboard, planes, save_figure, window
from anyvox_keras.pictures.feature_picture import feature_pca, feature_picture, views_picture
from anyvox_keras.pictures.registration_report import registration_report

__all__ = [
    "CasePicture",
    "cases_picture",
    "checkerboard",
    "feature_pca",
    "feature_picture",
    "planes",
    "registration_report",
    "save_figure",
    "views_picture",
    "window",
]
