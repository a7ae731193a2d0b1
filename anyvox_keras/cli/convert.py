"""`anyvox convert`."""

from pathlib import Path

import click

from anyvox_keras.errors import UserError


@click.command()
@click.argument("source", type=Path)
@click.argument("out", type=Path)
@click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
def convert(source: Path, out: Path, overwrite: bool) -> None:
    """Turn a PyTorch checkpoint SOURCE.pth into the preset folder OUT, or a preset into OUT.pth.

    The variant is read from the checkpoint's keys.
    """
    suffixes = (".pth", ".pt")
    if (source.suffix in suffixes) == (out.suffix in suffixes):
        raise UserError(f"expected IN.pth OUT_FOLDER, or IN OUT.pth; received {source} {out}")
    from anyvox_keras.io import check_output, prepare_folder
    from anyvox_keras.networks import UNet
    from anyvox_keras.networks.convert import from_torch, to_torch

    if out.suffix in suffixes:
        check_output(out, overwrite)
        to_torch(UNet.from_preset(source), out)
    else:
        if out.exists() and any(out.iterdir()) and not overwrite:
            raise UserError(f"{out}: the output exists already; pass --overwrite to replace it")
        unet = from_torch(source)
        prepare_folder(out)
        unet.save_to_preset(out, {"source": source.name})
    click.echo(f"{out}: converted from {source}")
