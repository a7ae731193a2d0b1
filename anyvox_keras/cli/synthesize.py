"""`anyvox synthesize`."""

from pathlib import Path
from typing import Any

import click

from anyvox_keras.cli._options import DRAWN, QUIET, TEMPLATES, Shard


@click.command()
@TEMPLATES
@click.option("--side", default=128, type=click.IntRange(16), help="Voxels along each axis.")
@click.option("--count", required=True, type=click.IntRange(1), help="Pairs in all.")
@click.option("--seed", default=0, help="The same seed gives the same pairs everywhere.")
@click.option("--resample", is_flag=True, help="Scale the shapes of a folder by side / 128.")
@click.option(
    "--voxel-mm",
    type=click.FloatRange(0, min_open=True),
    help="Spacing that shapes of a folder are resampled to first; else each file keeps its own.",
)
@click.option("--cache", type=Path, help="Keep the shapes of a folder, packed, in this file.")
@click.option("--first", default=0, type=click.IntRange(0), help="Number of the first pair.")
@click.option("--shard", type=Shard(), default="0/1", help="I/N: make the I-th of N parts.")
@click.option("--out", required=True, type=Path, help="FILE.hdf5, one a shard; or a NIfTI folder.")
@click.option("--overwrite", is_flag=True, help="Begin anew.")
@QUIET
def synthesize(
    templates: str,
    side: int,
    count: int,
    seed: int,
    resample: bool,
    voxel_mm: float | None,
    cache: Path | None,
    first: int,
    shard: tuple[int, int],
    out: Path,
    overwrite: bool,
) -> None:
    """Write synthetic pairs: a label map and two images of it, each drawn at random.

    A pair is named by its number. The same command again goes on where it stood.
    """
    from anyvox_keras.io import refuse_inputs
    from anyvox_keras.synthesis import PairFile, PairFolder
    from anyvox_keras.templates import check_sources, open_banks

    refuse_inputs([out] if cache is None else [out, cache], check_sources(templates))
    settings: dict[str, Any] = {"templates": templates, "side": side, "seed": seed}
    settings |= {"resample": resample, "first": first, "count": count}
    if voxel_mm:
        settings["voxel_mm"] = voxel_mm
    index, parts = shard
    numbers = range(first + count * index // parts, first + count * (index + 1) // parts)
    store: Any
    if out.suffix in (".hdf5", ".h5"):
        settings["shard"] = f"{index}/{parts}"
        store = PairFile(out, numbers, settings, overwrite)
    else:  # shards may share a folder
        store = PairFolder(out, numbers, settings, overwrite)
    with store:
        if store.missing:
            how: dict[str, Any] = {"resample": resample, "voxel_mm": voxel_mm, "cache": cache}
            _fill(store, open_banks(templates, DRAWN, side, **how), side, seed)
        store.finish()
    click.echo(f"{out}: {len(numbers)} pairs")


def _fill(store: Any, bank: Any, side: int, seed: int) -> None:
    """Draw the missing pairs, one at a time, so that memory holds one."""
    from anyvox_keras.backend import no_gradient, to_numpy
    from anyvox_keras.progress import counted
    from anyvox_keras.synthesis import SyntheticStream

    stream = SyntheticStream(bank, side=side, seed=seed)
    missing = store.missing
    total = len(store.numbers)
    for number in counted(missing, "pairs", total, total - len(missing)):
        with no_gradient():
            pair = stream.layer(stream.batch(range(number, number + 1)))
        views = [to_numpy(pair[name])[0, ..., 0] for name in ("view1", "view2")]
        store.write(number, views, to_numpy(pair["label_map"])[0])
