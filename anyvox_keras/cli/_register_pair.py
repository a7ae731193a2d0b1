"""What the commands that register share: the pair's options, its checks, its folder."""

from pathlib import Path
from typing import Any

import click

from anyvox_keras.cli._options import FORM, QUIET, introduce
from anyvox_keras.errors import UserError

CLIP: dict[str, Any] = {"type": float, "nargs": 2, "metavar": "LO HI"}
OPTIONS = (
    click.option("--fixed", type=Path, help="The image that stays."),
    click.option("--moving", type=Path, help="The image that is brought onto it."),
    click.option("--out", required=True, type=Path, help="Folder of the results."),
    click.option("--batch", type=Path, help="CSV of pairs; its columns are the flags' names."),
    click.option(
        "--affine",
        is_flag=False,
        flag_value="affine",
        type=click.Choice(["rigid", "affine"]),
        help="An affine stage first (affine, unless rigid is asked for), for scans not aligned.",
    ),
    click.option("--initial", type=Path, help="ITK affine file (.tfm) to start from."),
    click.option("--fixed-mask", type=Path, help="Where the fixed image counts."),
    click.option("--moving-mask", type=Path, help="Where the moving image counts."),
    click.option("--fixed-clip", **CLIP, help="Clip the fixed image for the network."),
    click.option("--moving-clip", **CLIP, help="Clip the moving image for the network."),
    click.option("--fixed-seg", type=Path, help="Labels of the fixed image, for the Dice."),
    click.option("--moving-seg", type=Path, help="Labels of the moving image, warped too."),
    click.option("--fixed-points", type=Path, help="Landmarks (CSV, x,y,z, mm, LPS), for the TRE."),
    click.option("--moving-points", type=Path, help="The same landmarks in the moving image."),
    click.option("--ras", is_flag=True, help="Points of CSV files are RAS, not LPS as in ITK."),
    FORM,
    QUIET,
)


def pair_options(command: Any) -> Any:
    """Add the options of a pair."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def check_pair(options: dict[str, Any], out: Path, overwrite: bool) -> None:
    """Find mistakes that need no computing: the folder, old results, absent files.

    Raises:
        UserError: naming the first mistake.
    """
    from anyvox_keras.io import (
        REGISTRATION_FILES,
        prepare_folder,
        refuse_inputs,
        refuse_old_results,
    )

    for name, path in options.items():
        if isinstance(path, Path) and not path.exists():
            raise UserError(f"{path}: expected the file of --{name.replace('_', '-')}, found none")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: expected a folder to write, received a file")
    outputs = [out / name for name in REGISTRATION_FILES]
    refuse_inputs(outputs, [path for path in options.values() if isinstance(path, Path)])
    refuse_old_results(out, overwrite)
    introduce(options["fixed"], options["moving"])
    prepare_folder(out)


def chosen(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that say something."""
    return {k: value for k, value in options.items() if value is not None and value is not False}


def save_pair(result: Any, out: Path, overwrite: bool) -> tuple[str, str]:
    """Save a `Registration`; return one line of results and the verdict."""
    result.save(out, overwrite=overwrite)
    return f"{out}: {result.summary}", result.quality.verdict
