"""The deformable search: cost volume, coupled convex optimisation, descent."""

from anyvox_keras.registration.deformable.cost_volume import cost_volume, window_offsets
from anyvox_keras.registration.deformable.coupled_convex import (
    coupled_convex,
    coupled_convex_by_slabs,
    inverse_consistency,
)
from anyvox_keras.registration.deformable.deform import deform
from anyvox_keras.registration.deformable.instance_optimisation import instance_optimisation
from anyvox_keras.registration.deformable.settings import (
    AdamSettings,
    DeformSettings,
    Level,
    room,
    settings_of,
)

__all__ = [
    "AdamSettings",
    "DeformSettings",
    "Level",
    "cost_volume",
    "coupled_convex",
    "coupled_convex_by_slabs",
    "deform",
    "instance_optimisation",
    "inverse_consistency",
    "room",
    "settings_of",
    "window_offsets",
]
