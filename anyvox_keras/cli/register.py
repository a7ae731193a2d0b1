"""`anyvox register`."""

from pathlib import Path
from typing import Any

import click

from anyvox_keras.cli._batch import run_pairs
from anyvox_keras.cli._options import MEMORY, OVERWRITE, PRECISION, WEIGHTS, set_precision
from anyvox_keras.cli._register_pair import chosen, pair_options, save_pair

#: `registration.settings.PRESETS`, which to import would load a framework for `--help`
PRESETS = ("default", "convexadam", "diffeomorphic")


@click.command()
@pair_options
@WEIGHTS
@click.option("--features", type=click.Choice(["mind", "network", "both"]), help="What to match.")
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    help="How to search: convexadam is the paper's, diffeomorphic never folds.",
)
@MEMORY
@PRECISION
@OVERWRITE
def register(
    out: Path, batch: Path | None, precision: str | None, overwrite: bool, **options: Any
) -> int:
    """Register MOVING to FIXED: moved image, warps (ITK), report and metrics in a folder."""
    set_precision(precision)
    return run_pairs(batch, out, options, overwrite, register_pair)


def register_pair(options: dict[str, Any], out: Path, overwrite: bool) -> str:
    """Register, save, and return one line of results."""
    from anyvox_keras.registration import register

    return save_pair(register(**chosen(options)), out, overwrite)
