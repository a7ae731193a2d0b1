"""`anyvox voxelmorph train|register`."""

import time
from pathlib import Path
from typing import Any, get_args

import click

from anyvox_keras.cli._batch import run_pairs
from anyvox_keras.cli._devices import (
    DEVICES,
    devices_of,
    needs_processes,
    one_voice,
    run_in_processes,
)
from anyvox_keras.cli._options import OVERWRITE, PRECISION, set_precision
from anyvox_keras.cli._register_pair import pair_options, save_pair, searched
from anyvox_keras.cli._run_options import given_settings, is_paper, run_options, settle, train_run
from anyvox_keras.cli.main import Commands
from anyvox_keras.progress import tell
from anyvox_keras.types import Refinement
from anyvox_keras.voxelmorph.voxelmorph_settings import VoxelMorphSettings

PACKAGED = "anyvox-morph"
SHOWN = ("loss", "dice", "val_loss", "val_dice", "val_folds_percent", "pairs_per_second")


@click.group(cls=Commands)
def voxelmorph() -> None:
    """Train a network that registers in one pass; use it."""


@voxelmorph.command()
@run_options(VoxelMorphSettings)
@DEVICES
@one_voice()
def train(
    out: Path,
    config: Path | None,
    resume: bool,
    overwrite: bool,
    devices: int | None,
    **flags: Any,
) -> int:
    """Train on synthetic pairs, on scans (--data), or on both (--data and --templates).

    A run killed at any moment goes on with --resume, on another backend and with another number of
    devices too.
    """
    began = time.time()
    given = given_settings(VoxelMorphSettings, config, flags)
    settings = settle(VoxelMorphSettings, out, given, resume, overwrite)
    from anyvox_keras.voxelmorph import VoxelMorphRun

    count = devices_of(devices)
    run = VoxelMorphRun(out, settings, overwrite and not resume, count)
    if needs_processes(count):
        return run_in_processes(count)
    train_run(run, SHOWN, began, is_paper(config), f"anyvox voxelmorph register --run {out}")
    return 0


@voxelmorph.command()
@click.option(
    "--run",
    default=PACKAGED,
    show_default=True,
    help="A preset, the folder of a run, a .keras file, or VoxelMorph's .h5.",
)
@pair_options
@click.option(
    "--refine",
    type=click.IntRange(0),
    metavar="N",
    help="Steps of refinement from what the network says; none if not given.",
)
@click.option(
    "--loss",
    type=click.Choice(get_args(Refinement)),
    help="By what: descent, that of `anyvox register`, if not given; or instance optimisation of "
    "the velocity by a loss of images, feature with --extractor.",
)
@click.option("--extractor", metavar="NAME|PATH", help="Preset of the features; else anyvox-base.")
@click.option(
    "--passes",
    type=click.IntRange(1),
    metavar="N",
    help="How often the network is asked, each time from where it was before; the preset's, or 1, "
    "if not given.",
)
@click.option(
    "--smoothness",
    type=click.FloatRange(0),
    help="Weight of smoothness in --refine; 3 in the descent, else 0.5, if not given.",
)
@click.option(
    "--spacing",
    type=click.FloatRange(0, min_open=True),
    metavar="MM",
    help="Of the grid that the network sees; else the run's, else the fixed image's; the preset's "
    "has at most as many voxels as it says.",
)
@PRECISION
@OVERWRITE
def register(
    run: str,
    out: Path,
    batch: Path | None,
    extractor: str | None,
    precision: str | None,
    overwrite: bool,
    **options: Any,
) -> int:
    """Register MOVING to FIXED by a trained network, with the files of `anyvox register`.

    The packaged network, anyvox-morph, takes any contrast; an affine stage precedes it, unless
    --affine says none.
    """
    tell(f"loading {run}")
    set_precision(precision)
    from anyvox_keras.features import FeatureExtractor
    from anyvox_keras.voxelmorph import how_to_ask, load_network, register_scans

    fixed: dict[str, Any] = {"model": load_network(run)}
    if extractor:
        options["loss"] = options["loss"] or "feature"
    # Once for all pairs of a table.
    if options["refine"] and options["loss"] == "feature":
        fixed["extractor"] = FeatureExtractor.from_preset(extractor or "anyvox-base")
    known = how_to_ask(run)
    for name in ("spacing", "affine", "passes"):
        options[name] = options[name] or known.get(name)
    fixed |= {name: known[name] for name in ("voxels", "both_ways") if name in known}

    def register_pair(options: dict[str, Any], out: Path, overwrite: bool) -> tuple[str, str]:
        arguments = searched(options)
        iterations = int(arguments.pop("refine", 0))
        result = register_scans(iterations=iterations, **fixed, **arguments)
        return save_pair(result, out, overwrite, {"run": run} | options)

    return run_pairs(batch, out, options, overwrite, register_pair)
