"""Pairs on disk: one HDF5 file, or a folder of NIfTI files."""

from anyvox_keras.synthesis.store.pair_file import PairFile
from anyvox_keras.synthesis.store.pair_folder import PairFolder

__all__ = [
    "PairFile",
    "PairFolder",
]
