"""`anyvox synthesize`."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from anyvox_keras.cli._options import DRAWN, PROGRESS, SHARD, TEMPLATES
from anyvox_keras.cli._workers import each, worker_options
from anyvox_keras.shards import part_of


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
@SHARD
@worker_options
@click.option("--out", required=True, type=Path, help="FILE.hdf5, one a shard; or a NIfTI folder.")
@click.option("--overwrite", is_flag=True, help="Begin anew.")
@PROGRESS
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
    numbers = part_of(range(first, first + count), shard)
    store: Any
    if out.suffix in (".hdf5", ".h5"):
        settings["shard"] = "/".join(map(str, shard))
        store = PairFile(out, numbers, settings, overwrite)
    else:  # shards may share a folder
        store = PairFolder(out, numbers, settings, overwrite)
    with store:
        if store.missing:
            how: dict[str, Any] = {"resample": resample, "voxel_mm": voxel_mm, "cache": cache}
            if cache is not None:
                open_banks(templates, DRAWN, side, **how)  # once, for workers to find it there
            _fill(store, PairJob(templates, side, seed, how))
        store.finish()
    click.echo(f"{out}: {len(numbers)} pairs")


@dataclass(frozen=True)
class PairJob:
    """Draws pairs by their numbers, each by itself, so that memory holds one."""

    templates: str
    side: int
    seed: int
    how: dict[str, Any]

    @functools.cached_property
    def _stream(self) -> Any:
        from anyvox_keras.synthesis import SyntheticStream
        from anyvox_keras.templates import open_banks

        bank = open_banks(self.templates, DRAWN, self.side, **self.how)
        return SyntheticStream(bank, side=self.side, seed=self.seed)

    def __call__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return two views (2, D, H, W) and the label map (D, H, W) of a pair."""
        from anyvox_keras.backend import no_gradient, to_numpy

        with no_gradient():
            pair = self._stream.layer(self._stream.batch(range(number, number + 1)))
        views = np.stack([to_numpy(pair[name])[0, ..., 0] for name in ("view1", "view2")])
        return views, to_numpy(pair["label_map"])[0]


def _fill(store: Any, job: PairJob) -> None:
    """Write the missing pairs in the order in which they are drawn."""
    missing = store.missing
    for outcome in each(job, missing, "pairs", done=len(store.numbers) - len(missing)):
        if outcome.error is not None:
            raise outcome.error
        store.write(outcome.item, *outcome.result)
