"""`anyvox register`."""

from pathlib import Path
from typing import Any

import click

from anyvox_keras.cli._batch import run_batch
from anyvox_keras.cli._options import MEMORY, OVERWRITE, PRECISION, WEIGHTS, set_precision
from anyvox_keras.cli._register_pair import check_pair, register_pair

#: `registration.settings.PRESETS`, which to import would load a framework for `--help`
PRESETS = ("default", "convexadam", "diffeomorphic")
CLIP: dict[str, Any] = {"type": float, "nargs": 2, "metavar": "LO HI"}


@click.command()
@click.option("--fixed", type=Path, help="The image that stays.")
@click.option("--moving", type=Path, help="The image that is brought onto it.")
@click.option("--out", required=True, type=Path, help="Folder of the results.")
@click.option("--batch", type=Path, help="CSV of pairs; its columns are the flags' names.")
@WEIGHTS
@click.option("--features", type=click.Choice(["mind", "network", "both"]), help="What to match.")
@click.option(
    "--affine",
    is_flag=False,
    flag_value="affine",
    type=click.Choice(["rigid", "affine"]),
    help="An affine stage first (affine, unless rigid is asked for), for scans not aligned.",
)
@click.option("--initial", type=Path, help="ITK affine file (.tfm) to start from.")
@click.option("--fixed-mask", type=Path, help="Where the fixed image counts.")
@click.option("--moving-mask", type=Path, help="Where the moving image counts.")
@click.option("--fixed-clip", **CLIP, help="Clip the fixed image for the network.")
@click.option("--moving-clip", **CLIP, help="Clip the moving image for the network.")
@click.option("--fixed-seg", type=Path, help="Labels of the fixed image, for the Dice.")
@click.option("--moving-seg", type=Path, help="Labels of the moving image, warped too.")
@click.option("--fixed-points", type=Path, help="Landmarks (CSV, x,y,z, mm, LPS), for the TRE.")
@click.option("--moving-points", type=Path, help="The same landmarks in the moving image.")
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
    if batch is not None:
        if options["fixed"] or options["moving"]:
            raise click.UsageError("expected either --batch or --fixed and --moving")
        return run_batch(batch, out, options, overwrite)
    if not options["fixed"] or not options["moving"]:
        raise click.UsageError("expected --fixed and --moving, or --batch")
    check_pair(options, out, overwrite)
    click.echo(register_pair(options, out, overwrite))
    return 0
