"""VoxelMorph: the pairwise registration network, its training, and weights from its packages."""

from typing import TYPE_CHECKING

from anyvox_keras.lazy import lazy

if TYPE_CHECKING:
    from anyvox_keras.voxelmorph.network_search import (
        NetworkSearch as NetworkSearch,
        refine as refine,
        register_scans as register_scans,
    )
    from anyvox_keras.voxelmorph.pairs import (
        DeformedPairs as DeformedPairs,
        JoinedPairs as JoinedPairs,
        ScanPairs as ScanPairs,
    )
    from anyvox_keras.voxelmorph.trainer import VoxelMorphTrainer as VoxelMorphTrainer
    from anyvox_keras.voxelmorph.voxelmorph import VoxelMorph as VoxelMorph
    from anyvox_keras.voxelmorph.voxelmorph_run import (
        VoxelMorphRun as VoxelMorphRun,
        how_to_ask as how_to_ask,
        load_network as load_network,
    )
    from anyvox_keras.voxelmorph.voxelmorph_settings import VoxelMorphSettings as VoxelMorphSettings

lazy(__name__)
