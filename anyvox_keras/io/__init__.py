"""Files and their geometry: NIfTI, ITK transforms, points, HDF5 pairs."""

from anyvox_keras.io.affine_file import load_affine, save_affine
from anyvox_keras.io.csv_table import read_table
from anyvox_keras.io.grid import Grid
from anyvox_keras.io.json_file import save_json
from anyvox_keras.io.list_images import case_name, list_images
from anyvox_keras.io.load_labels import load_labels
from anyvox_keras.io.load_mask import load_mask
from anyvox_keras.io.load_reference import load_reference
from anyvox_keras.io.load_volume import load_volume
from anyvox_keras.io.min_max import min_max
from anyvox_keras.io.output import atomic, check_output, prepare_folder
from anyvox_keras.io.pair_file import PairFile
from anyvox_keras.io.pair_folder import PairFolder
from anyvox_keras.io.points_file import load_points, save_points
from anyvox_keras.io.ras_grid import ras_grid
from anyvox_keras.io.registration_files import REGISTRATION_FILES, refuse_old_results
from anyvox_keras.io.require_same_grid import require_same_grid
from anyvox_keras.io.resample_to import resample_to
from anyvox_keras.io.save_volume import save_volume
from anyvox_keras.io.volume import Volume
from anyvox_keras.io.warp import Warp
from anyvox_keras.io.warp_file import TO_LPS, load_warp, save_warp

__all__ = [
    "read_table",
    "REGISTRATION_FILES",
    "TO_LPS",
    "Grid",
    "PairFile",
    "PairFolder",
    "Volume",
    "Warp",
    "atomic",
    "case_name",
    "check_output",
    "list_images",
    "load_affine",
    "load_labels",
    "load_mask",
    "load_points",
    "load_reference",
    "load_volume",
    "load_warp",
    "min_max",
    "prepare_folder",
    "ras_grid",
    "refuse_old_results",
    "require_same_grid",
    "resample_to",
    "save_affine",
    "save_json",
    "save_points",
    "save_volume",
    "save_warp",
]
