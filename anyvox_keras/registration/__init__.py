"""Registration without training: features, search, convex optimisation, gradient descent."""

from anyvox_keras.geometry.resample import resample_deformation
from anyvox_keras.registration.affine.affine_descent import affine_descent
from anyvox_keras.registration.affine.affine_pair import mutual_information, without_padding
from anyvox_keras.registration.affine.align import affine_starts, align
from anyvox_keras.registration.affine.fit_points import fit_points
from anyvox_keras.registration.deformable.convex_search import ConvexSearch, NoSearch, Search
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
    changed,
    room,
    settings_of,
    tuned,
)
from anyvox_keras.registration.deformable.terms import Terms
from anyvox_keras.registration.descriptors.known_features import known_features
from anyvox_keras.registration.descriptors.mind import mind_ssc
from anyvox_keras.registration.descriptors.pair_features import (
    FeatureSettings,
    image_features,
    masked_image,
)
from anyvox_keras.registration.layers import (
    ComposeTransforms,
    Correlation,
    IntegrateVelocity,
    MINDChannels,
    RescaleDisplacement,
    SpatialTransformer,
)
from anyvox_keras.registration.losses.registration_loss import as_torch_module
from anyvox_keras.registration.losses.regularization import (
    BendingEnergy,
    GradientPenalty,
    InverseConsistencyLoss,
)
from anyvox_keras.registration.losses.similarity import (
    DiceLoss,
    FeatureLoss,
    LocalNCCLoss,
    MINDLoss,
    MutualInformationLoss,
)
from anyvox_keras.registration.pair_inputs import landmarks_of, place
from anyvox_keras.registration.quality import Quality
from anyvox_keras.registration.register import register
from anyvox_keras.registration.registration import Registration
from anyvox_keras.registration.registration_page import registration_page
from anyvox_keras.types import PairOptions

__all__ = [
    "ConvexSearch",
    "PairOptions",
    "Search",
    "AdamSettings",
    "BendingEnergy",
    "ComposeTransforms",
    "Correlation",
    "DeformSettings",
    "DiceLoss",
    "FeatureLoss",
    "FeatureSettings",
    "GradientPenalty",
    "IntegrateVelocity",
    "InverseConsistencyLoss",
    "Level",
    "LocalNCCLoss",
    "MINDChannels",
    "MINDLoss",
    "MutualInformationLoss",
    "NoSearch",
    "Quality",
    "Registration",
    "RescaleDisplacement",
    "SpatialTransformer",
    "Terms",
    "affine_descent",
    "affine_starts",
    "align",
    "as_torch_module",
    "changed",
    "cost_volume",
    "coupled_convex",
    "coupled_convex_by_slabs",
    "deform",
    "fit_points",
    "image_features",
    "instance_optimisation",
    "inverse_consistency",
    "known_features",
    "landmarks_of",
    "masked_image",
    "mind_ssc",
    "mutual_information",
    "place",
    "register",
    "registration_page",
    "resample_deformation",
    "room",
    "settings_of",
    "tuned",
    "window_offsets",
    "without_padding",
]
