"""VoxelMorph: the pairwise registration network, its training, and weights from its packages."""

from anyvox_keras.voxelmorph.deformed_pairs import DeformedPairs
from anyvox_keras.voxelmorph.joined_pairs import JoinedPairs
from anyvox_keras.voxelmorph.load_network import load_network
from anyvox_keras.voxelmorph.network_search import NetworkSearch
from anyvox_keras.voxelmorph.refine import refine
from anyvox_keras.voxelmorph.register_scans import register_scans
from anyvox_keras.voxelmorph.scan_pairs import ScanPairs
from anyvox_keras.voxelmorph.trainer import VoxelMorphTrainer
from anyvox_keras.voxelmorph.voxelmorph import VoxelMorph
from anyvox_keras.voxelmorph.voxelmorph_run import VoxelMorphRun
from anyvox_keras.voxelmorph.voxelmorph_settings import VoxelMorphSettings

__all__ = [
    "DeformedPairs",
    "JoinedPairs",
    "NetworkSearch",
    "ScanPairs",
    "VoxelMorph",
    "VoxelMorphRun",
    "VoxelMorphSettings",
    "VoxelMorphTrainer",
    "load_network",
    "refine",
    "register_scans",
]
