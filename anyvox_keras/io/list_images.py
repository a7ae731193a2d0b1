"""Images by name."""

import os
from collections.abc import Sequence
from pathlib import Path

from anyvox_keras.errors import UserError

ENDINGS = (".nii", ".nii.gz")


def list_images(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return the NIfTI files that are named, and those of each folder named, sorted.

    Raises:
        UserError: A path that does not exist, or no image at all.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"{path}: expected an image or a folder, which is absent")
        # Archives packed on a Mac hold a "._" file beside each image.
        inside = sorted(path.glob("*.nii*")) if path.is_dir() else [path]
        found += [p for p in inside if p.name.endswith(ENDINGS) and not p.name.startswith("._")]
    if not found:
        named = ", ".join(str(path) for path in paths)
        raise UserError(f"{named}: expected NIfTI images, received none")
    return found


def case_name(path: Path) -> str:
    """Return a file's name without its ending."""
    return path.name.removesuffix(".gz").removesuffix(".nii")
