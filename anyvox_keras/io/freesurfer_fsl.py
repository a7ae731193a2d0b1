"""Linear transforms of FreeSurfer (.lta) and of FSL (.mat), which count in the images' voxels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry.grid import Grid


def read_lta(path: Any) -> Iterator[np.ndarray]:
    """Read FreeSurfer's LTA: from voxels to voxels (type 0) or RAS to RAS (1), moving to fixed.

    Yields:
        `(4, 4)`, mm, RAS, fixed to moving.
    """
    lines = [line.split("#")[0].strip() for line in Path(path).read_text().splitlines()]
    parted = (line.partition("=") for line in lines if "=" in line)
    fields = [(name.strip(), text.strip()) for name, _, text in parted]
    kind = int(dict(fields)["type"])
    start = lines.index("1 4 4") + 1
    matrix = np.array([line.split() for line in lines[start : start + 4]], "float64")
    if kind == 0:
        moving, fixed = (_lta_affine(fields, which) for which in (0, 1))
        matrix = fixed @ matrix @ np.linalg.inv(moving)
    elif kind != 1:
        raise ValueError(f"received type {kind}: expected 0 (voxels) or 1 (RAS)")
    yield np.linalg.inv(matrix)


def _lta_affine(fields: list[tuple[str, str]], which: int) -> np.ndarray:
    """Voxel to world matrix of the source (0) or the destination (1)."""
    said: dict[str, np.ndarray] = {}
    for name in ("volume", "voxelsize", "xras", "yras", "zras", "cras"):
        texts = [field[1] for field in fields if field[0] == name]
        said[name] = np.array(texts[which].split(), "float64")
    affine = np.eye(4)
    axes = np.stack([said["xras"], said["yras"], said["zras"]], 1)
    affine[:3, :3] = axes * said["voxelsize"]
    affine[:3, 3] = said["cras"] - affine[:3, :3] @ (said["volume"] / 2)
    return affine


def lta_text(matrix: np.ndarray, fixed: Grid, moving: Grid) -> str:
    """Write an LTA from RAS to RAS, with the geometry of both images.

    Args:
        matrix: `(4, 4)`, mm, RAS, fixed to moving.
        fixed: Grid of the fixed image, FreeSurfer's destination.
        moving: Grid of the moving image, its source.
    """
    rows = "\n".join(" ".join(f"{x:.15e}" for x in row) for row in np.linalg.inv(matrix))
    return (
        "type      = 1 # LINEAR_RAS_TO_RAS\nnxforms   = 1\nmean      = 0.0000 0.0000 0.0000\n"
        f"sigma     = 1.0000\n1 4 4\n{rows}\n"
        f"src volume info\n{_geometry(moving)}dst volume info\n{_geometry(fixed)}"
    )


def _geometry(grid: Grid) -> str:
    axes = grid.affine[:3, :3] / grid.spacing
    centre = grid.to_world(np.asarray(grid.shape) / 2)  # FreeSurfer's: half a voxel off the middle
    fields = {"volume": grid.shape, "voxelsize": grid.spacing, "xras": axes[:, 0],
              "yras": axes[:, 1], "zras": axes[:, 2], "cras": centre}  # fmt: skip
    lines = [f"{name:<9} = {' '.join(f'{x:.15g}' for x in row)}" for name, row in fields.items()]
    return "\n".join(["valid = 1  # volume info valid", "filename = none", *lines]) + "\n"


def read_flirt(path: Any, fixed: Grid | None, moving: Grid | None) -> Iterator[np.ndarray]:
    """Read FSL's matrix, from the moving to the fixed image's scaled voxels.

    Yields:
        `(4, 4)`, mm, RAS, fixed to moving.

    Raises:
        UserError: An image's grid is not given: the file does not know it.
    """
    matrix = np.array(Path(path).read_text().split(), "float64").reshape(4, 4)
    if fixed is None or moving is None:
        raise UserError(
            f"{path}: a matrix of FSL's needs both images: "
            f"anyvox transform convert {Path(path).name} OUT --fixed FIXED --moving MOVING"
        )
    to_scaled, from_scaled = _scaled(fixed), np.linalg.inv(_scaled(moving))
    yield from_scaled @ np.linalg.inv(matrix) @ to_scaled


def flirt_text(matrix: np.ndarray, fixed: Grid, moving: Grid) -> str:
    """Write FSL's matrix of a map in the world.

    Args:
        matrix: `(4, 4)`, mm, RAS, fixed to moving.
        fixed: Grid of the fixed image, FSL's reference.
        moving: Grid of the moving image, its input.
    """
    scaled = _scaled(fixed) @ np.linalg.inv(matrix) @ np.linalg.inv(_scaled(moving))
    return "".join("  ".join(f"{x:.10f}" for x in row) + "\n" for row in scaled)


def _scaled(grid: Grid) -> np.ndarray:
    """From the world to FSL's coordinates: voxels times spacing, the first axis to the left."""
    scale = np.diag([*grid.spacing, 1.0])
    if np.linalg.det(grid.affine) > 0:
        scale[0] = -grid.spacing[0], 0, 0, (grid.shape[0] - 1) * grid.spacing[0]
    scaled: np.ndarray = scale @ np.linalg.inv(grid.affine)
    return scaled


def is_text(path: Any) -> bool:
    """Whether a file holds nothing but words and numbers, as FSL's .mat, not ITK's, does."""
    with open(path, "rb") as file:
        start = file.read(512)
    return bool(start) and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in start)
