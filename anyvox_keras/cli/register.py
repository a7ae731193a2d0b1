"""`anyvox register`, and how to search: from a file, by a job, by any setting."""

import functools
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import click

from anyvox_keras.cli._batch import run_pairs
from anyvox_keras.cli._options import MEMORY, OVERWRITE, PRECISION, WEIGHTS, set_precision
from anyvox_keras.cli._register_pair import pair_options, save_pair, searched
from anyvox_keras.cli._workers import worker_options
from anyvox_keras.errors import UserError
from anyvox_keras.types import FeatureKind, Method

#: what tells one pair from another has no place among settings
_OF_A_PAIR = ("images", "fixed", "moving", "out", "batch", "config", "overwrite", "help")


def jobs() -> dict[str, Any]:
    """The packaged files of common jobs by their names."""
    folder = files("anyvox_keras.registration").joinpath("jobs")
    found = [file for file in folder.iterdir() if file.name.endswith(".toml")]
    return {file.name.removesuffix(".toml"): file for file in sorted(found, key=lambda f: f.name)}


def _read_config(context: click.Context, _: Any, source: str | None) -> None:
    """Take a file's values for flags that are not given."""
    if source is None:
        return
    from anyvox_keras.training.settings import read_toml

    if source not in jobs() and not Path(source).is_file():
        raise UserError(
            f"config: expected a TOML file or one of {', '.join(jobs())}, received {source}"
        )
    values = read_toml(str(jobs().get(source, source)))
    values = {name.replace("-", "_"): value for name, value in values.items()}
    flags = {option.name for option in context.command.params} - set(_OF_A_PAIR)
    unknown = sorted(set(values) - flags)
    if unknown:
        raise UserError(f"{source}: expected flags of register, received {', '.join(unknown)}")
    if isinstance(values.get("set"), dict):
        values["set"] = [f"{name}={value}" for name, value in _flat(values["set"])]
    context.default_map = values


def _flat(group: dict[str, Any], within: str = "") -> list[tuple[str, Any]]:
    """Spell nested tables with dots, and true and false as TOML does."""
    pairs = []
    for name, value in group.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{within}{name}.")
        else:
            pairs.append((within + name, str(value).lower() if value in (True, False) else value))
    return pairs


def _read_set(_: click.Context, __: Any, words: Sequence[str]) -> dict[str, str] | None:
    """Return names and values; none where nothing is set."""
    for word in words:
        if "=" not in word:
            raise click.BadParameter(f"expected KEY=VALUE, received {word}")
    return dict(word.split("=", 1) for word in words) or None


CONFIG = click.option(
    "--config",
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    metavar="NAME|FILE.toml",
    help="A common job's settings, or a file of these flags; flags win over it.",
)
SET = click.option(
    "--set",
    multiple=True,
    callback=_read_set,
    metavar="KEY=VALUE",
    help="Any setting of the search (see DeformSettings): adam.passes=2, levels=4x2+2x3.",
)


#: options that change a preset
TURNED = ("smoothness", "capture", "iterations")


@click.command()
@pair_options
@WEIGHTS
@click.option("--features", type=click.Choice(get_args(FeatureKind)), help="What to match.")
@click.option(
    "--preset",
    type=click.Choice(get_args(Method)),
    help="How to search: convexadam is the paper's, diffeomorphic never folds, none leaves it at "
    "the affine stage.",
)
@click.option("--smoothness", type=float, help="Of the deformation; 3 by default, 0.75 is little.")
@click.option(
    "--capture", type=float, help="How far to search, mm; by default an eighth of the image's side."
)
@click.option("--iterations", type=int, help="Steps of the descent, 50 by default.")
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
    if (turned or others) and given.get("preset") == "none":
        name = next(iter((*turned, *others)))
        raise UserError(f"{name}: expected none beside preset none, which does not search")
    if turned or others:
        settings = changed(settings_of(given.pop("preset", "default")), others)
        given["settings"] = tuned(settings, **turned)
    return save_pair(register(**given), out, overwrite, options)
