"""Displacements counted in voxels: VoxelMorph's and Learn2Reg's."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from anyvox_keras.errors import UserError
from anyvox_keras.geometry.grid import Grid
from anyvox_keras.geometry.warp import Warp
from anyvox_keras.io.output import atomic, check_output


def read_npz(path: Any, fixed: Grid | None, moving: Grid | None) -> Warp:
    """Read the one array of a `.npz` as a field of the fixed image's voxels.

    Args:
        path: `(D, H, W, 3)` as VoxelMorph keeps it; `(3, D, H, W)`, or half of each side, as
            Learn2Reg does.
        fixed: The fixed image's grid.
        moving: The grid whose voxels the targets are; by default the fixed image's.

    Raises:
        UserError: No grid; another shape.
    """
    with np.load(path) as arrays:
        if len(arrays.files) != 1:
            raise ValueError(f"received several arrays: {', '.join(arrays.files)}")
        return in_voxels(arrays[arrays.files[0]], Path(path).name, fixed, moving)


def in_voxels(raw: np.ndarray, name: str, fixed: Grid | None, moving: Grid | None) -> Warp:
    """Take an array for a field of the fixed image's voxels; see `read_npz`."""
    if fixed is None:
        raise UserError(f"{name}: displacements in voxels need the fixed image: --fixed")
    half = tuple(n // 2 for n in fixed.shape)
    if raw.shape in ((3, *fixed.shape), (3, *half)):
        raw = np.moveaxis(raw, 0, -1)
    if raw.shape == (*half, 3):
        # Learn2Reg's evaluation enlarges each component by itself; values count whole voxels
        zoom = np.divide(fixed.shape, half)
        raw = np.stack([ndimage.zoom(x.astype("float32"), zoom, order=2) for x in
                        np.moveaxis(raw, -1, 0)], -1)  # fmt: skip
    if raw.shape != (*fixed.shape, 3):
        expected = f"{(*fixed.shape, 3)}, {(3, *fixed.shape)} or {(3, *half)}"
        raise UserError(f"{name}: expected a field of shape {expected}, received {raw.shape}")
    if not np.isfinite(raw).all():
        raise UserError(f"{name}: expected finite displacements, received NaN or infinity")
    return Warp.from_voxels(raw, fixed, moving)


def save_npz(path: Any, warp: Warp, moving: Grid | None, overwrite: bool = False) -> None:
    """Write `(D, H, W, 3)` float32 in voxels, as VoxelMorph keeps it."""
    with atomic(check_output(path, overwrite)) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, warp.to_voxels(moving))
