"""Geometry in millimetres, without files: grids, volumes, warps, resampling."""

from anyvox_keras.geometry.chain import Chain
from anyvox_keras.geometry.grid import Grid
from anyvox_keras.geometry.resample import background, resample_to
from anyvox_keras.geometry.volume import Volume, min_max, require_same_grid, without_hot_voxels
from anyvox_keras.geometry.warp import Warp

__all__ = [
    "Chain",
    "Grid",
    "Volume",
    "Warp",
    "background",
    "min_max",
    "require_same_grid",
    "resample_to",
    "without_hot_voxels",
]
