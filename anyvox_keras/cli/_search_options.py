"""`--config` and `--set`: how to search, from a file, by a job's name, by any setting's."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from anyvox_keras.errors import UserError

#: what tells one pair from another has no place among settings
_OF_A_PAIR = ("fixed", "moving", "out", "batch", "config", "overwrite", "help")


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
