"""`anyvox convert`."""

from pathlib import Path

import click

from anyvox_keras.errors import UserError


@click.command()
@click.argument("source", type=Path)
@click.argument("out", type=Path)
@click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
def convert(source: Path, out: Path, overwrite: bool) -> None:
    """Turn a PyTorch checkpoint SOURCE.pth into the preset folder OUT, or a network into OUT.pth.

    A checkpoint's variant is read from its keys. A network is a preset, the folder of a
    pretraining run or a .keras file, of a UNet or a ViT.
    """
    suffixes = (".pth", ".pt")
    if (source.suffix in suffixes) == (out.suffix in suffixes):
        raise UserError(f"expected IN.pth OUT_FOLDER, or IN OUT.pth; received {source} {out}")
    from anyvox_keras.io import check_output, prepare_folder
    from anyvox_keras.networks import load_network, save_preset
    from anyvox_keras.networks.convert import to_torch

    if out.suffix in suffixes:
        check_output(out, overwrite, [source])
        to_torch(load_network(source), out)
    else:
        if out.exists() and any(out.iterdir()) and not overwrite:
            raise UserError(f"{out}: the output exists already; pass --overwrite to replace it")
        network = load_network(source)
        prepare_folder(out)
        save_preset(network, out, {"source": source.name})
    click.echo(f"{out}: converted from {source}")
