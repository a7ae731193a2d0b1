"""VoxelMorph: the pairwise registration network, its layers, and weights from its packages."""

from anyvox_keras.registration.voxelmorph.compose_transforms import ComposeTransforms
from anyvox_keras.registration.voxelmorph.correlation import Correlation
from anyvox_keras.registration.voxelmorph.deformed_pairs import DeformedPairs
from anyvox_keras.registration.voxelmorph.integrate_velocity import IntegrateVelocity
from anyvox_keras.registration.voxelmorph.joined_pairs import JoinedPairs
from anyvox_keras.registration.voxelmorph.load_network import load_network
from anyvox_keras.registration.voxelmorph.mind_channels import MINDChannels
from anyvox_keras.registration.voxelmorph.model import VoxelMorph
from anyvox_keras.registration.voxelmorph.refine import refine
from anyvox_keras.registration.voxelmorph.register_scans import register_scans
from anyvox_keras.registration.voxelmorph.rescale_displacement import RescaleDisplacement
from anyvox_keras.registration.voxelmorph.scan_pairs import ScanPairs
from anyvox_keras.registration.voxelmorph.spatial_transformer import SpatialTransformer
from anyvox_keras.registration.voxelmorph.trainer import VoxelMorphTrainer
from anyvox_keras.registration.voxelmorph.voxelmorph_run import VoxelMorphRun
from anyvox_keras.registration.voxelmorph.voxelmorph_settings import VoxelMorphSettings

__all__ = [
    "ComposeTransforms",
    "Correlation",
    "DeformedPairs",
    "IntegrateVelocity",
    "JoinedPairs",
    "MINDChannels",
    "RescaleDisplacement",
    "ScanPairs",
    "SpatialTransformer",
    "VoxelMorph",
    "VoxelMorphRun",
    "VoxelMorphSettings",
    "VoxelMorphTrainer",
    "load_network",
    "refine",
    "register_scans",
]
