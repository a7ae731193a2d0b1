"""Files and their geometry: NIfTI, ITK transforms, points, HDF5 pairs."""

from anyvox_keras.io.csv_table import read_table
from anyvox_keras.io.describe import Description, describe
from anyvox_keras.io.form_codes import prefer_form
from anyvox_keras.io.label_names import load_label_names
from anyvox_keras.io.load import (
    by_case,
    case_name,
    list_images,
    load_channels,
    load_labels,
    load_mask,
    load_reference,
    load_series,
    load_volume,
)
from anyvox_keras.io.output import (
    REGISTRATION_FILES,
    atomic,
    atomic_hdf5,
    check_output,
    exclusive,
    prepare_folder,
    refuse_inputs,
    refuse_old_results,
    replaced_together,
    require_room,
    save_json,
    save_page,
)
from anyvox_keras.io.points import TO_LPS, Landmarks, load_points, read_landmarks, save_points
from anyvox_keras.io.provenance import provenance_of
from anyvox_keras.io.resumable_store import ResumableStore
from anyvox_keras.io.save_volume import save_volume
from anyvox_keras.io.transform_files import load_transform, save_transform
from anyvox_keras.io.transforms import load_affine, load_warp, save_affine, save_warp

__all__ = [
    "REGISTRATION_FILES",
    "TO_LPS",
    "Description",
    "Landmarks",
    "ResumableStore",
    "atomic",
    "atomic_hdf5",
    "by_case",
    "case_name",
    "check_output",
    "describe",
    "exclusive",
    "list_images",
    "load_affine",
    "load_channels",
    "load_label_names",
    "load_labels",
    "load_mask",
    "load_points",
    "load_reference",
    "load_series",
    "load_transform",
    "load_volume",
    "load_warp",
    "prefer_form",
    "prepare_folder",
    "provenance_of",
    "read_landmarks",
    "read_table",
    "refuse_inputs",
    "refuse_old_results",
    "replaced_together",
    "require_room",
    "save_affine",
    "save_json",
    "save_page",
    "save_points",
    "save_transform",
    "save_volume",
    "save_warp",
]
