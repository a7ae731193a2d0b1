"""What the commands that train into a folder share: flags, TOML, refusing, resuming, rows."""

import dataclasses
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from anyvox_keras.errors import UserError
from anyvox_keras.training.settings import TomlSettings, read_toml

Settings = TypeVar("Settings", bound=TomlSettings)


def setting_options(kind: type[TomlSettings]) -> Any:
    """Add a flag for each setting, whose documentation is its help."""
    about = dict(re.findall(r"^ {8}(\w+): (.+(?:\n {12}.+)*)", kind.__doc__ or "", re.M))

    def decorated(command: Any) -> Any:
        for field in reversed(dataclasses.fields(kind)):  # type: ignore[arg-type]
            name = field.name.replace("_", "-")
            flag = f"--{name}/--no-{name}" if isinstance(field.default, bool) else f"--{name}"
            text = f"{about[field.name].replace('`', '')} [{field.default}]"
            of = None if isinstance(field.default, bool) else type(field.default)
            command = click.option(flag, field.name, default=None, type=of, help=text)(command)
        return command

    return decorated


def settle(
    kind: type[Settings], out: Path, given: dict[str, Any], resume: bool, overwrite: bool
) -> Settings:
    """Settle what to run: a stored run's settings, or those given."""
    stored = out / "config.toml"
    if not stored.exists():
        return kind.from_dict(given)
    if overwrite and not resume:
        settings = kind.from_dict(given)  # a mistake here leaves the old run alone
        _remove(out)
        return settings
    if not resume:
        raise UserError(f"{out}: the run exists already; pass --resume, or --overwrite")
    settings = kind.from_dict(read_toml(stored), str(stored))
    # Through the same checks, so that 1 and 1.0 are the same number.
    wanted = kind.from_dict({**dataclasses.asdict(settings), **given})  # type: ignore[call-overload]
    for name in given:
        before, now = getattr(settings, name), getattr(wanted, name)
        if before != now:
            raise UserError(f"{out}: {name}: the run was begun with {before}, received {now}")
    return settings


RUN = (
    click.option("--out", required=True, type=Path, help="Folder of the run."),
    click.option("--config", type=Path, help="TOML file of settings; flags win over it."),
    click.option("--resume", is_flag=True, help="Go on with the folder's run, or begin it."),
    click.option("--overwrite", is_flag=True, help="Begin anew where a run exists."),
)


def run_options(kind: type[TomlSettings]) -> Any:
    """Add the flags of a command that trains: the run's folder, and each setting."""

    def decorated(command: Any) -> Any:
        command = setting_options(kind)(command)
        for option in reversed(RUN):
            command = option(command)
        return command

    return decorated


def train_run(run: Any, shown: Sequence[str], introduce: Any = None) -> None:
    """Train to the end: a bar on a terminal, else a line for each row of the log.

    Args:
        run: A `TrainingRun`.
        shown: The row's columns, where it has them.
        introduce: As of `TrainingRun.train`.
    """

    def print_row(row: dict[str, Any]) -> None:
        numbers = "  ".join(f"{name} {float(row[name]):.4g}" for name in shown if name in row)
        click.echo(f"step {row['step']}: {numbers}")

    on_terminal = sys.stderr.isatty()
    try:
        run.train(None if on_terminal else print_row, int(on_terminal), introduce)
    except FloatingPointError as error:
        click.echo(f"anyvox: error: {error}", err=True)
        sys.exit(1)


def given_settings(config: Path | None, flags: dict[str, Any]) -> dict[str, Any]:
    """Join a TOML file and the flags, which win over it."""
    given = read_toml(config) if config is not None else {}
    return given | {name: value for name, value in flags.items() if value is not None}


def _remove(out: Path) -> None:
    """Remove a run's own files, nothing else that lies there."""
    names = (
        "state",
        "log.csv",
        "last.weights.h5",
        "best.weights.h5",
        "config.toml",
        "classes.json",
        "network.keras",
    )
    for name in names:
        (out / name).unlink(missing_ok=True)
    for name in ("backbone", "features", "pictures", "tensorboard"):
        shutil.rmtree(out / name, ignore_errors=True)
