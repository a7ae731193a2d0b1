"""VoxelMorph: the pairwise registration network, its layers, and weights from its packages."""

__all__ = []
