"""`anyvox apply`."""

import warnings
from pathlib import Path

import click


@click.command()
@click.option("--warp", required=True, type=Path, help="Displacement field (ITK, mm, LPS).")
@click.option("--image", type=Path, help="Moving image or label map to warp.")
@click.option("--reference", type=Path, help="Image whose grid the result gets.")
@click.option("--points", type=Path, help="CSV with columns x,y,z in mm.")
@click.option("--out", required=True, type=Path, help="NIfTI, or CSV for points.")
@click.option("--labels", is_flag=True, help="The image holds labels: nearest, integers kept.")
@click.option("--ras", is_flag=True, help="Points are RAS, not LPS as in ITK.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
def apply(
    warp: Path,
    image: Path | None,
    reference: Path | None,
    points: Path | None,
    out: Path,
    labels: bool,
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
    if image is not None and reference is None:
        raise click.UsageError("--image needs --reference")
    check_output(out, overwrite)
    if points is not None:
        _warp_points(warp, points, out, ras)
    else:
        _warp_image(warp, image, reference, out, labels)


def _warp_image(warp: Path, image: Path | None, like: Path | None, out: Path, labels: bool) -> None:
    from anyvox_keras.io import load_labels, load_reference, load_volume, load_warp, save_volume

    field, target = load_warp(warp), load_reference(like)
    moving = load_labels(image) if labels else load_volume(image)
    moved = field.resample(moving, target.grid)
    save_volume(out, moved.array, target, overwrite=True)


def _warp_points(warp: Path, points: Path, out: Path, ras: bool) -> None:
    from anyvox_keras.io import TO_LPS, load_points, load_warp, save_points

    field, listed = load_warp(warp), load_points(points)
    start = listed if ras else listed * TO_LPS
    outside = int((~field.grid.contains(start)).sum())
    if outside:
        message = f"{outside} of {len(start)} points lie outside the warp and stay where they are"
        warnings.warn(message, stacklevel=1)
    moved = field.points(start)
    save_points(out, moved if ras else moved * TO_LPS, overwrite=True)
