"""`anyvox convert`."""

from pathlib import Path

import click

from anyvox_keras._errors import UserError
from anyvox_keras.cli._options import OVERWRITE

CHECKPOINTS = (".pth", ".pt")


@click.command()
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT", type=Path)
@OVERWRITE
def convert(source: str, out: Path, overwrite: bool) -> None:
    """Turn a checkpoint of the paper's code into a preset folder, or a preset into one.

    IN.pth OUT_FOLDER reads the variant from the keys; IN OUT.pth takes a preset's name or folder.
    """
    from anyvox_keras.io import check_output, prepare_folder

    to_checkpoint = out.suffix in CHECKPOINTS
    if to_checkpoint == (Path(source).suffix in CHECKPOINTS):
        raise click.UsageError("expected IN.pth OUT_FOLDER, or a preset and OUT.pth")
    if to_checkpoint:
        check_output(out, overwrite)
    elif out.exists() and not overwrite and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: the output exists already; pass --overwrite to replace it")
    else:
        prepare_folder(out)
    from anyvox_keras.networks import UNet
    from anyvox_keras.networks.convert import from_torch, to_torch

    if to_checkpoint:
        to_torch(UNet.from_preset(source), out)
    else:
        from_torch(source).save_to_preset(out)
    click.echo(f"{out}: written")
