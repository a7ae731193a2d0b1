"""`anyvox apply`."""

import warnings
from pathlib import Path
from typing import Any

import click
import numpy as np

from anyvox_keras import geometry, io
from anyvox_keras.cli._options import FORM, OVERWRITE
from anyvox_keras.errors import UserError

#: interpolation to the order of its spline
ORDERS = {"linear": 1, "nearest": 0, "bspline": 3}
# millimetres by which a point of a mesh may miss its place
_FAR = 0.01


@click.command()
@click.option(
    "--warp",
    "warps",
    required=True,
    multiple=True,
    type=Path,
    help="Field (ITK, mm, LPS) or other transform; repeats: a point goes through the first first.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    type=Path,
    help="Moving image, series of volumes (4D) or label map; repeats, with a folder as --out.",
)
@click.option("--reference", type=Path, help="Image whose grid the result gets; else the warp's.")
@click.option("--points", type=Path, help="CSV with columns x,y,z in mm, .fcsv or .mrk.json.")
@click.option(
    "--mesh",
    "meshes",
    multiple=True,
    type=Path,
    help="Surface or set of points of the moving side: .vtk, .vtp, .ply, .stl, .obj; repeats, too.",
)
@click.option("--out", required=True, type=Path, help="NIfTI, points, a mesh, or a folder.")
@click.option("--labels", is_flag=True, help="The image holds labels: nearest, integers kept.")
@click.option(
    "--interpolation",
    type=click.Choice(list(ORDERS)),
    help="Between voxels; linear by default. --labels is nearest.",
)
@click.option(
    "--outside",
    type=float,
    metavar="V",
    help="Value beyond the image; else the image's own background, 0 for labels.",
)
@click.option(
    "--ras", is_flag=True, help="CSV files, and meshes that do not say, are RAS, not LPS."
)
@FORM
@OVERWRITE
def apply(
    warps: tuple[Path, ...],
    images: tuple[Path, ...],
    reference: Path | None,
    points: Path | None,
    meshes: tuple[Path, ...],
    out: Path,
    labels: bool,
    interpolation: str | None,
    outside: float | None,
    ras: bool,
    overwrite: bool,
) -> None:
    """Warp images, label maps, meshes or points with a saved warp.

    Images and meshes of the moving side come onto the fixed side; points go the way ITK maps them,
    from fixed to moving. With the inverse warp all go the other way.
    """
    if [bool(images), points is not None, bool(meshes)].count(True) != 1:
        raise click.UsageError("expected either --image or --points or --mesh")
    if labels and interpolation not in (None, "nearest"):
        raise UserError(f"--interpolation: expected nearest for labels, received {interpolation}")
    if labels and outside is not None and not (outside >= 0 and outside.is_integer()):
        raise UserError(f"--outside: expected a label, an integer from 0 up, received {outside:g}")
    moving = images or meshes
    outs = [out] if len(moving) < 2 else [out / one.name for one in moving]
    if len(set(outs)) < len(moving):
        flag = "--image" if images else "--mesh"
        raise UserError(f"{flag}: expected files of different names, received two of one name")
    for one in outs:
        io.check_output(one, overwrite, (*warps, *moving, reference, points))
    if points is not None:
        _warp_points(_chain(warps), points, out, ras)
        return
    chain = _chain(warps)
    for mesh, one in zip(meshes, outs, strict=False):
        _warp_mesh(chain, mesh, one, ras)
    order = None if interpolation is None else ORDERS[interpolation]
    for image, one in zip(images, outs, strict=False):
        _warp_image(chain, image, reference, one, labels, order, outside)


def _chain(warps: tuple[Path, ...]) -> Any:
    return geometry.Chain(tuple(part for warp in warps for part in io.load_transform(warp).parts))


def _warp_image(
    chain: Any,
    image: Path,
    like: Path | None,
    out: Path,
    labels: bool,
    order: int | None,
    outside: float | None,
) -> None:
    target = None if like is None else io.load_reference(like)
    # one field is what it is; its reference lies within it
    alone = len(chain.parts) == 1 and chain.matrix is None
    field = chain.to_warp(None if alone or target is None else target.grid)
    grid = field.grid if target is None else target.grid
    volumes = [io.load_labels(image)] if labels else io.load_series(image)
    fill = geometry.background(volumes[0]) if outside is None else outside
    arrays = [_moved(field, volume, grid, order, fill) for volume in volumes]
    array = arrays[0] if len(arrays) == 1 else np.stack(arrays, -1)
    io.save_volume(out, array, grid if target is None else target, overwrite=True)
    series = "" if len(arrays) == 1 else f"{len(arrays)} volumes, "
    click.echo(f"{out}: {series}{grid}")


def _moved(field: Any, moving: Any, grid: Any, order: int | None, fill: float) -> np.ndarray:
    """One volume on the grid; what was NaN stays NaN."""
    array: np.ndarray = field.resample(moving, grid, order, fill).array
    if moving.finite is None:
        return array
    known = field.resample(geometry.Volume(moving.finite, moving.affine), grid, outside=1).array
    return np.where(known, array, np.nan)


def _warp_points(chain: Any, points: Path, out: Path, ras: bool) -> None:
    listed = io.read_landmarks(points, ras)
    start = listed.points * io.TO_LPS
    _tell_outside(chain, start)
    io.save_points(out, chain.points(start) * io.TO_LPS, overwrite=True, like=listed, ras=ras)
    click.echo(f"{out}: {len(start)} points")


def _warp_mesh(chain: Any, mesh: Path, out: Path, ras: bool) -> None:
    """Bring a mesh of the moving side onto the fixed side, each point by itself."""
    listed = io.read_mesh(mesh, ras)
    found, off = chain.points_back(listed.points * io.TO_LPS)
    if (lost := off > _FAR).any():
        if lost.mean() > 0.05:
            raise UserError(
                f"{mesh}: expected a transform that has an inverse there, received one that leads "
                f"no point to {lost.sum()} of {len(off)} (up to {off.max():.2g} mm off)"
            )
        warnings.warn(f"{lost.sum()} of {len(off)} points are up to {off.max():.2g} mm off, where "
                      "the transform folds", stacklevel=1)  # fmt: skip
    _tell_outside(chain, found)
    normals = None
    if listed.normals is not None:
        normals = chain.normals_back(found, listed.normals * io.TO_LPS) * io.TO_LPS
    io.save_mesh(out, listed.at(found * io.TO_LPS, normals), overwrite=True)
    system = listed.system if listed.said else f"{listed.system} (its file does not say)"
    click.echo(f"{out}: {len(found)} points, {system}, from moving to fixed")


def _tell_outside(chain: Any, fixed: np.ndarray) -> None:
    outside = 0 if chain.grid is None else int((~chain.grid.contains(fixed)).sum())
    if outside:
        message = f"{outside} of {len(fixed)} points lie outside the warp"
        warnings.warn(f"{message}; they are moved by its affine part", stacklevel=1)
