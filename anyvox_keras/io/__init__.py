"""Files and their geometry: NIfTI, ITK transforms, points, meshes, HDF5 pairs."""

from typing import TYPE_CHECKING

from anyvox_keras.lazy import lazy

if TYPE_CHECKING:
    from anyvox_keras.io.csv_table import read_table as read_table
    from anyvox_keras.io.describe import (
        Description as Description,
        describe as describe,
    )
    from anyvox_keras.io.form_codes import prefer_form as prefer_form
    from anyvox_keras.io.image_files import (
        by_case as by_case,
        case_name as case_name,
        is_series as is_series,
        list_images as list_images,
    )
    from anyvox_keras.io.label_names import load_label_names as load_label_names
    from anyvox_keras.io.load import (
        load_channels as load_channels,
        load_labels as load_labels,
        load_mask as load_mask,
        load_reference as load_reference,
        load_series as load_series,
        load_volume as load_volume,
    )
    from anyvox_keras.io.mesh_files import (
        MESHES as MESHES,
        Mesh as Mesh,
        read_mesh as read_mesh,
        save_mesh as save_mesh,
    )
    from anyvox_keras.io.output import (
        REGISTRATION_FILES as REGISTRATION_FILES,
        atomic as atomic,
        atomic_hdf5 as atomic_hdf5,
        check_output as check_output,
        exclusive as exclusive,
        prepare_folder as prepare_folder,
        refuse_inputs as refuse_inputs,
        refuse_old_results as refuse_old_results,
        replaced_together as replaced_together,
        require_room as require_room,
        save_json as save_json,
        save_page as save_page,
    )
    from anyvox_keras.io.points import (
        TO_LPS as TO_LPS,
        Landmarks as Landmarks,
        load_points as load_points,
        read_landmarks as read_landmarks,
        save_points as save_points,
    )
    from anyvox_keras.io.provenance import provenance_of as provenance_of
    from anyvox_keras.io.resumable_store import ResumableStore as ResumableStore
    from anyvox_keras.io.save_volume import save_volume as save_volume
    from anyvox_keras.io.transform_files import (
        load_transform as load_transform,
        save_transform as save_transform,
    )
    from anyvox_keras.io.transforms import (
        load_affine as load_affine,
        load_warp as load_warp,
        save_affine as save_affine,
        save_warp as save_warp,
    )

lazy(__name__)
