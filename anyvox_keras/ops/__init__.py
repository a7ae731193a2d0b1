"""Stateless maths on volumes: sampling, displacements, filters, pooling, padding."""

from anyvox_keras.ops.displacement import (
    compose,
    integrate_velocity,
    inverse_points,
    invert_displacement,
    jacobian_determinant,
    warp,
)
from anyvox_keras.ops.filters import (
    average_pool,
    box_filter,
    correlate_axis,
    gaussian_filter,
    max_pool,
    median_filter,
)
from anyvox_keras.ops.resize import pad, resize, resize_displacement
from anyvox_keras.ops.sample import affine_grid, identity_grid, sample_linear, sample_nearest

__all__ = [
    "affine_grid",
    "average_pool",
    "box_filter",
    "compose",
    "correlate_axis",
    "gaussian_filter",
    "identity_grid",
    "integrate_velocity",
    "inverse_points",
    "invert_displacement",
    "jacobian_determinant",
    "max_pool",
    "median_filter",
    "pad",
    "resize",
    "resize_displacement",
    "sample_linear",
    "sample_nearest",
    "warp",
]
