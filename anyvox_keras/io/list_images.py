"""Images by name."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from anyvox_keras.errors import UserError

#: in upper or lower case
ENDINGS = (".nii", ".nii.gz", ".mgh", ".mgz")
# images that a folder may hold and that are not read from there
_OTHERS = (".nrrd", ".nhdr", ".mha", ".mhd", ".mnc", ".hdr", ".dcm", ".nii.bz2", ".nii.zst")


def list_images(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return the NIfTI and MGH files that are named, and those of each folder named, sorted.

    A warning names the images of other formats that a folder holds.

    Raises:
        UserError: A path that does not exist, or no image at all.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"{path}: expected an image or a folder, which is absent")
        found += _of_folder(path) if path.is_dir() else [path]
    found = [path for path in found if path.name.lower().endswith(ENDINGS)]
    if not found:
        named = ", ".join(str(path) for path in paths)
        raise UserError(f"{named}: expected NIfTI images, received none")
    return found


def _of_folder(folder: Path) -> list[Path]:
    """The files of a folder, after a word about images that are left out."""
    # Archives packed on a Mac hold a "._" file beside each image.
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if left := [path.name for path in files if path.name.lower().endswith(_OTHERS)]:
        some = ", ".join(left[:3]) + (" ..." if len(left) > 3 else "")
        warnings.warn(f"{folder}: {len(left)} images are left out: {some}", stacklevel=3)
    return files


def case_name(path: Path) -> str:
    """Return a file's name without its ending."""
    endings = sorted(ENDINGS, key=len, reverse=True)
    found = next((ending for ending in endings if path.name.lower().endswith(ending)), "")
    return path.name[: len(path.name) - len(found)]


def by_case(paths: Sequence[Path]) -> dict[str, Path]:
    """Return files by the name of their case.

    Raises:
        UserError: Two files of one name, such as `a.nii` and `a.nii.gz`.
    """
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(case_name(path), path)
        if other is not path and not other.samefile(path):
            raise UserError(f"{path}: expected one file of that name, received {other} too")
    return found
