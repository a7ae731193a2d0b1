"""The files of one registration."""

import os
from pathlib import Path

from anyvox_keras._errors import UserError

REGISTRATION_FILES = (
    "moved.nii.gz", "moved_seg.nii.gz", "warp.nii.gz", "inverse_warp.nii.gz", "affine.tfm",
    "report.png", "metrics.json",
)  # fmt: skip


def refuse_old_results(folder: str | os.PathLike[str], overwrite: bool) -> None:
    """Refuse a folder that holds a registration's results already, unless `overwrite`.

    Raises:
        UserError: naming the first file found.
    """
    found = [Path(folder) / name for name in REGISTRATION_FILES if (Path(folder) / name).exists()]
    if found and not overwrite:
        raise UserError(f"{found[0]}: the output exists already; pass --overwrite to replace it")
