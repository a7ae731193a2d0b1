"""`anyvox register`."""

import functools
from pathlib import Path
from typing import Any, get_args

import click

from anyvox_keras.cli._batch import run_pairs
from anyvox_keras.cli._options import MEMORY, OVERWRITE, PRECISION, WEIGHTS, set_precision
from anyvox_keras.cli._register_pair import pair_options, save_pair, searched
from anyvox_keras.cli._search_options import CONFIG, SET
from anyvox_keras.cli._workers import worker_options
from anyvox_keras.types import FeatureKind, Profile

#: options that change a preset
TURNED = ("smoothness", "capture", "iterations")


@click.command()
@pair_options
@WEIGHTS
@click.option("--features", type=click.Choice(get_args(FeatureKind)), help="What to match.")
@click.option(
    "--preset",
    type=click.Choice(get_args(Profile)),
    help="How to search: convexadam is the paper's, diffeomorphic never folds.",
)
@click.option("--smoothness", type=float, help="Of the deformation; 2 by default, 0.75 is little.")
@click.option(
    "--capture", type=float, help="How far to search, mm; by default an eighth of the image's side."
)
@click.option("--iterations", type=int, help="Steps of the descent, 80 by default.")
@SET
@CONFIG
@MEMORY
@PRECISION
@OVERWRITE
@worker_options
def register(
    out: Path, batch: Path | None, precision: str | None, overwrite: bool, **options: Any
) -> int:
    """Register MOVING to FIXED: moved image, warps (ITK), report and metrics in a folder."""
    return run_pairs(
        batch, out, options, overwrite, functools.partial(register_pair, precision=precision)
    )


def register_pair(
    options: dict[str, Any], out: Path, overwrite: bool, precision: str | None
) -> tuple[str, str]:
    """Register, save, and return one line of results and the verdict."""
    set_precision(precision)
    from anyvox_keras.registration import changed, register, settings_of, tuned

    given = searched(options)
    turned = {name: given.pop(name) for name in TURNED if name in given}
    others = given.pop("set", {})
    if turned or others:
        settings = changed(settings_of(given.pop("preset", "default")), others)
        given["settings"] = tuned(settings, **turned)
    return save_pair(register(**given), out, overwrite, options)
