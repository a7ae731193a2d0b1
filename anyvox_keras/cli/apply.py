"""`anyvox apply`."""

import warnings
from pathlib import Path
from typing import Any

import click
import numpy as np

from anyvox_keras.cli._options import FORM, OVERWRITE
from anyvox_keras.errors import UserError


@click.command()
@click.option(
    "--warp",
    "warps",
    required=True,
    multiple=True,
    type=Path,
    help="Field (ITK, mm, LPS) or other transform; repeats: a point goes through the first first.",
)
@click.option("--image", type=Path, help="Moving image or label map to warp.")
@click.option("--reference", type=Path, help="Image whose grid the result gets; else the warp's.")
@click.option("--points", type=Path, help="CSV with columns x,y,z in mm, .fcsv or .mrk.json.")
@click.option("--out", required=True, type=Path, help="NIfTI, or a file of points.")
@click.option("--labels", is_flag=True, help="The image holds labels: nearest, integers kept.")
@click.option(
    "--outside",
    type=float,
    metavar="V",
    help="Value beyond the image; else the image's own background, 0 for labels.",
)
@click.option("--ras", is_flag=True, help="Points of CSV files are RAS, not LPS as in ITK.")
@FORM
@OVERWRITE
def apply(
    warps: tuple[Path, ...],
    image: Path | None,
    reference: Path | None,
    points: Path | None,
    out: Path,
    labels: bool,
    outside: float | None,
    ras: bool,
    overwrite: bool,
) -> None:
    """Warp an image, a label map or points with a saved warp.

    An image of the moving side comes onto the fixed side; points go the way ITK maps them, from
    fixed to moving.
    """
    from anyvox_keras.io import check_output

    if (image is None) == (points is None):
        raise click.UsageError("expected either --image or --points")
    check_output(out, overwrite, (*warps, image, reference, points))
    if points is not None:
        _warp_points(_chain(warps), points, out, ras)
    else:
        _warp_image(_chain(warps), image, reference, out, labels, outside)


def _chain(warps: tuple[Path, ...]) -> Any:
    from anyvox_keras.geometry import Chain
    from anyvox_keras.io import load_transform

    return Chain(tuple(part for warp in warps for part in load_transform(warp).parts))


def _warp_image(
    chain: Any,
    image: Path | None,
    like: Path | None,
    out: Path,
    labels: bool,
    outside: float | None,
) -> None:
    from anyvox_keras.geometry import Volume, background
    from anyvox_keras.io import load_labels, load_reference, load_volume, save_volume

    target = None if like is None else load_reference(like)
    # one field is what it is; its reference lies within it
    alone = len(chain.parts) == 1 and chain.matrix is None
    field = chain.to_warp(None if alone or target is None else target.grid)
    grid = field.grid if target is None else target.grid
    moving = load_labels(image) if labels else load_volume(image, varies=False)
    if labels and outside is not None and not (outside >= 0 and outside.is_integer()):
        raise UserError(f"--outside: expected a label, an integer from 0 up, received {outside:g}")
    fill = background(moving) if outside is None else outside
    moved = field.resample(moving, grid, outside=fill)
    array = moved.array
    if moving.finite is not None:  # what was NaN stays NaN
        known = field.resample(Volume(moving.finite, moving.affine), grid, outside=1).array
        array = np.where(known, array, np.nan)
    save_volume(out, array, grid if target is None else target, overwrite=True)


def _warp_points(chain: Any, points: Path, out: Path, ras: bool) -> None:
    from anyvox_keras.io import TO_LPS, read_landmarks, save_points

    listed = read_landmarks(points, ras)
    start = listed.points * TO_LPS
    outside = 0 if chain.grid is None else int((~chain.grid.contains(start)).sum())
    if outside:
        message = f"{outside} of {len(start)} points lie outside the warp"
        warnings.warn(f"{message}; they are moved by its affine part", stacklevel=1)
    save_points(out, chain.points(start) * TO_LPS, overwrite=True, like=listed, ras=ras)
