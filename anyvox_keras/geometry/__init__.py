"""Geometry in millimetres, without files: grids, volumes, warps, resampling."""

from typing import TYPE_CHECKING

from anyvox_keras.lazy import lazy

if TYPE_CHECKING:
    from anyvox_keras.geometry.chain import Chain as Chain
    from anyvox_keras.geometry.grid import Grid as Grid
    from anyvox_keras.geometry.resample import (
        background as background,
        resample_to as resample_to,
    )
    from anyvox_keras.geometry.volume import (
        Volume as Volume,
        min_max as min_max,
        of_moderate_range as of_moderate_range,
        require_same_grid as require_same_grid,
        without_hot_voxels as without_hot_voxels,
    )
    from anyvox_keras.geometry.warp import Warp as Warp

lazy(__name__)
