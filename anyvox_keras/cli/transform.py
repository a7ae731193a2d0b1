"""`anyvox transform convert|compose|invert|jacobian`."""

from pathlib import Path
from typing import Any

import click

from anyvox_keras import io
from anyvox_keras.cli._options import OVERWRITE
from anyvox_keras.cli.main import Commands

REFERENCE = click.option(
    "--reference", type=Path, help="Image whose grid a field gets; else the first field's own."
)


@click.group(cls=Commands)
def transform() -> None:
    """Convert, join and invert transforms.

    ITK's .tfm, .txt, .mat and .h5, FreeSurfer's .lta, FSL's .mat, displacement fields (.nii.gz) and
    those in voxels (.npz, VoxelMorph's and Learn2Reg's) are read and written. All map points of the
    fixed image to the moving one.
    """


@transform.command()
@click.argument("source", type=Path)
@click.argument("out", type=Path)
@click.option("--fixed", type=Path, help="Fixed image: FSL's reference, FreeSurfer's target.")
@click.option("--moving", type=Path, help="Moving image: FSL's input, FreeSurfer's source.")
@REFERENCE
@OVERWRITE
def convert(
    source: Path,
    out: Path,
    fixed: Path | None,
    moving: Path | None,
    reference: Path | None,
    overwrite: bool,
) -> None:
    """Write SOURCE in the format of OUT's ending.

    FSL's .mat, FreeSurfer's .lta when written, and fields in voxels count in the images' voxels:
    they need --fixed and --moving. With both, a .mat is written as FSL's, else as ITK's.
    """
    io.check_output(out, overwrite, (source, reference, fixed, moving))
    images = {"fixed": _grid(fixed), "moving": _grid(moving)}
    chain = io.load_transform(source, **images)
    io.save_transform(out, chain, _grid(reference), overwrite=True, **images)
    click.echo(f"{out}: {_said(chain)}")


@transform.command()
@click.argument("sources", type=Path, nargs=-1, required=True)
@click.argument("out", type=Path)
@REFERENCE
@OVERWRITE
def compose(sources: tuple[Path, ...], out: Path, reference: Path | None, overwrite: bool) -> None:
    """Join SOURCES into OUT: a point goes through the first, then through the next."""
    from anyvox_keras.geometry import Chain

    io.check_output(out, overwrite, (*sources, reference))
    parts = [part for source in sources for part in io.load_transform(source).parts]
    chain = Chain(tuple(parts))
    io.save_transform(out, chain, _grid(reference), overwrite=True)
    click.echo(f"{out}: {_said(chain)}")


@transform.command()
@click.argument("source", type=Path)
@click.argument("out", type=Path)
@REFERENCE
@OVERWRITE
def invert(source: Path, out: Path, reference: Path | None, overwrite: bool) -> None:
    """Write the way back of SOURCE; for a field, --reference is the moving image."""
    io.check_output(out, overwrite, (source, reference))
    grid = _grid(reference)
    chain = io.load_transform(source).inverse(grid)
    io.save_transform(out, chain, grid, overwrite=True)
    click.echo(f"{out}: {_said(chain)}")


@transform.command()
@click.argument("source", type=Path)
@click.argument("out", type=Path)
@REFERENCE
@OVERWRITE
def jacobian(source: Path, out: Path, reference: Path | None, overwrite: bool) -> None:
    """Write the Jacobian determinant of SOURCE: below 1 it shrinks, below 0 it folds."""
    io.check_output(out, overwrite, (source, reference))
    warp = io.load_transform(source).to_warp(_grid(reference))
    from anyvox_keras import backend
    from anyvox_keras.ops import jacobian_determinant

    with backend.no_gradient():
        determinant = backend.to_numpy(jacobian_determinant(warp.to_voxels()[None]))[0]
    io.save_volume(out, determinant, warp.grid, overwrite=True)
    folds = 100 * float((determinant <= 0).mean())
    click.echo(f"{out}: {determinant.min():.3g} to {determinant.max():.3g}, folds {folds:.3f} %")


def _said(chain: Any) -> str:
    """What a transform is, in words."""
    count = len(chain.parts)
    kind = "a displacement field" if chain.matrix is None else "a linear transform"
    return kind if count == 1 else f"{kind}, of {count} parts"


def _grid(image: Path | None) -> Any:
    return None if image is None else io.load_reference(image).grid
