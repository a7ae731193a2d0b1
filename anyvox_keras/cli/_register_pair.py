"""What the commands that register share: the pair's options, its checks, its folder."""

from pathlib import Path
from typing import Any, get_args, get_type_hints

import click

from anyvox_keras.cli._options import FORM, PROGRESS, SHARD, command_line, introduce
from anyvox_keras.errors import UserError
from anyvox_keras.types import AffineModel, ChannelsLike, Clip, PairOptions, Weight

#: where a network's own default is an affine stage
NO_AFFINE = "none"
#: how a flag takes its value, by its type; whatever else there is comes from a file
VALUES: dict[Any, dict[str, Any]] = {
    Clip: {"type": float, "nargs": 2, "metavar": "LO HI"},
    AffineModel | bool | None: {
        "type": click.Choice([*get_args(AffineModel), NO_AFFINE]),
        "is_flag": False,
        "flag_value": "affine",
    },
    bool: {"is_flag": True},
    Weight: {"type": click.FloatRange(0), "metavar": "W", "is_flag": False, "flag_value": "1"},
    ChannelsLike: {"type": Path, "multiple": True, "metavar": "FILE"},
}


def _flag(option: tuple[str, Any]) -> Any:
    """Make the flag of an option of `PairOptions`."""
    name, (kind, text) = option[0], get_args(option[1])
    return click.option(
        f"--{name.replace('_', '-')}", help=text, **VALUES.get(kind, {"type": Path})
    )


OPTIONS = (
    click.argument("images", type=Path, nargs=-1, metavar="[FIXED MOVING]"),
    click.option("--fixed", type=Path, help="The image that stays, if not named first."),
    click.option("--moving", type=Path, help="The image that is brought onto it, if not second."),
    click.option(
        "--out", type=Path, default="result", show_default=True, help="Folder of the results."
    ),
    click.option("--batch", type=Path, help="CSV of pairs; its columns are the flags' names."),
    SHARD,
    *map(_flag, get_type_hints(PairOptions, include_extras=True).items()),
    click.option("--label-names", type=Path, help="What the labels are called, for the report."),
    FORM,
    PROGRESS,
)


def pair_options(command: Any) -> Any:
    """Add the options of a pair."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def named_pair(options: dict[str, Any], batch: Path | None) -> dict[str, Any]:
    """Return the options with the images by position as those of `--fixed` and `--moving`.

    Raises:
        click.UsageError: Not exactly two images, an image named twice, or a pair beside a table.
    """
    images, rest = options["images"], {k: v for k, v in options.items() if k != "images"}
    flags = [path for path in (options["fixed"], options["moving"]) if path is not None]
    if batch is not None:
        if images or flags:
            raise click.UsageError("expected either --batch or a pair, received both")
        return rest
    if images and flags:
        raise click.UsageError("expected FIXED MOVING or --fixed and --moving, received both")
    pair = images or flags
    if len(pair) != 2:
        named = " ".join(map(str, pair)) or "none"
        raise click.UsageError(f"expected two images, FIXED MOVING, or --batch, received {named}")
    return {**rest, "fixed": pair[0], "moving": pair[1]}


def check_pair(options: dict[str, Any], out: Path, overwrite: bool) -> None:
    """Find mistakes that need no computing: the folder, old results, absent files.

    Raises:
        UserError: naming the first mistake.
    """
    from anyvox_keras import io

    files = [(name, path) for name, value in options.items() for path in paths_in(value)]
    for name, path in files:
        if not path.exists():
            raise UserError(f"{path}: expected the file of --{name.replace('_', '-')}, found none")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: expected a folder to write, received a file")
    outputs = [out / name for name in io.REGISTRATION_FILES]
    io.refuse_inputs(outputs, [path for _, path in files])
    io.refuse_old_results(out, overwrite)
    if options.get("label_names"):
        io.load_label_names(options["label_names"])
    introduce(options["fixed"], options["moving"])
    io.prepare_folder(out)


def chosen(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that say something."""
    return {k: v for k, v in options.items() if v is not None and v is not False and v != ()}


def paths_in(value: Any) -> list[Path]:
    """Return the files that an option names: one, several, or none."""
    several = value if isinstance(value, tuple) else (value,)
    return [one for one in several if isinstance(one, Path)]


def searched(options: dict[str, Any]) -> dict[str, Any]:
    """Return what a registration is told: names of labels are for its report."""
    told = {k: value for k, value in chosen(options).items() if k != "label_names"}
    return {k: value for k, value in told.items() if (k, value) != ("affine", NO_AFFINE)}


def save_pair(result: Any, out: Path, overwrite: bool, options: dict[str, Any]) -> tuple[str, str]:
    """Save a `Registration` of these options; return one line of results and the verdict."""
    from anyvox_keras.io import load_label_names

    given = chosen(options)
    files = {
        f"{name}_{number}" if number else name: path
        for name, value in given.items()
        for number, path in enumerate(paths_in(value))
    }
    made_with = {
        "command": command_line(),
        "settings": {name: value for name, value in given.items() if not paths_in(value)},
        "inputs": files,
    }
    names = load_label_names(files["label_names"]) if "label_names" in files else {}
    result.save(out, overwrite, names=names, made_with=made_with)
    return f"{out}: {result.summary}; open {out / 'report.html'}", result.quality.verdict
