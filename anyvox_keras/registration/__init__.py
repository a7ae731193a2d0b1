"""Registration without training: features, search, convex optimisation, gradient descent."""

from anyvox_keras.registration.affine_descent import affine_descent
from anyvox_keras.registration.affine_starts import affine_starts
from anyvox_keras.registration.align import align
from anyvox_keras.registration.cost_volume import cost_volume, window_offsets
from anyvox_keras.registration.coupled_convex import coupled_convex, coupled_convex_by_slabs
from anyvox_keras.registration.deform import deform
from anyvox_keras.registration.instance_optimisation import AdamSettings, instance_optimisation
from anyvox_keras.registration.inverse_consistency import inverse_consistency
from anyvox_keras.registration.landmarks import landmarks_of
from anyvox_keras.registration.losses import (
    BendingEnergy,
    DiceLoss,
    FeatureLoss,
    GradientPenalty,
    InverseConsistencyLoss,
    LocalNCCLoss,
    MINDLoss,
    MutualInformationLoss,
    as_torch_module,
)
from anyvox_keras.registration.masked_image import masked_image
from anyvox_keras.registration.mind import mind_ssc
from anyvox_keras.registration.mutual_information import mutual_information
from anyvox_keras.registration.pair_features import FeatureSettings, image_features
from anyvox_keras.registration.place import place
from anyvox_keras.registration.register import register
from anyvox_keras.registration.registration import Registration
from anyvox_keras.registration.resample_deformation import resample_deformation
from anyvox_keras.registration.room import room
from anyvox_keras.registration.settings import DeformSettings, Level, settings_of
from anyvox_keras.registration.voxelmorph import (
    ComposeTransforms,
    Correlation,
    DeformedPairs,
    IntegrateVelocity,
    JoinedPairs,
    MINDChannels,
    RescaleDisplacement,
    ScanPairs,
    SpatialTransformer,
    VoxelMorph,
    VoxelMorphRun,
    VoxelMorphSettings,
    VoxelMorphTrainer,
    load_network,
    refine,
    register_scans,
)
from anyvox_keras.registration.without_padding import without_padding
from anyvox_keras.registration.working_grid import working_grid

__all__ = [
    "AdamSettings",
    "BendingEnergy",
    "ComposeTransforms",
    "Correlation",
    "DeformSettings",
    "DeformedPairs",
    "DiceLoss",
    "FeatureLoss",
    "FeatureSettings",
    "GradientPenalty",
    "IntegrateVelocity",
    "InverseConsistencyLoss",
    "JoinedPairs",
    "Level",
    "LocalNCCLoss",
    "MINDChannels",
    "MINDLoss",
    "MutualInformationLoss",
    "Registration",
    "RescaleDisplacement",
    "ScanPairs",
    "SpatialTransformer",
    "VoxelMorph",
    "affine_descent",
    "affine_starts",
    "align",
    "VoxelMorphRun",
    "VoxelMorphSettings",
    "VoxelMorphTrainer",
    "as_torch_module",
    "cost_volume",
    "coupled_convex",
    "coupled_convex_by_slabs",
    "deform",
    "image_features",
    "instance_optimisation",
    "inverse_consistency",
    "landmarks_of",
    "masked_image",
    "load_network",
    "mind_ssc",
    "mutual_information",
    "place",
    "refine",
    "register",
    "register_scans",
    "resample_deformation",
    "room",
    "settings_of",
    "window_offsets",
    "without_padding",
    "working_grid",
]
