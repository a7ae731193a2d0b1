"""Pictures of volumes, features and registrations, by matplotlib."""

from anyvox_keras.pictures.drawing import checkerboard, planes, save_figure, window
from anyvox_keras.pictures.html_page import Link, Page, Table, data_uri, made_with_tables, webp
from anyvox_keras.pictures.html_viewer import Viewer, warped_lines
from anyvox_keras.pictures.registration_report import registration_report
from anyvox_keras.pictures.rows import (
    CasePicture,
    cases_picture,
    feature_pca,
    feature_picture,
    views_picture,
)

__all__ = [
    "CasePicture",
    "Link",
    "Page",
    "Table",
    "Viewer",
    "cases_picture",
    "checkerboard",
    "data_uri",
    "feature_pca",
    "feature_picture",
    "made_with_tables",
    "planes",
    "registration_report",
    "save_figure",
    "views_picture",
    "warped_lines",
    "webp",
    "window",
]
