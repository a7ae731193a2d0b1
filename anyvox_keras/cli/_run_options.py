"""What the commands that train into a folder share: flags, TOML, refusing, resuming, rows."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from anyvox_keras.cli._live_line import clear_line, complain
from anyvox_keras.cli._options import PROGRESS
from anyvox_keras.errors import UserError
from anyvox_keras.progress import note
from anyvox_keras.training.settings import Field, Settings, fields_of, read_toml

Kind = TypeVar("Kind", bound=Settings)

RUN = (
    click.option("--out", required=True, type=Path, help="Folder of the run."),
    click.option(
        "--config",
        type=Path,
        help="TOML file of settings, or paper for the published protocol; flags win over it.",
    ),
    click.option("--resume", is_flag=True, help="Go on with the folder's run, or begin it."),
    click.option("--overwrite", is_flag=True, help="Begin anew where a run exists."),
    PROGRESS,
)


def run_options(kind: type[Settings]) -> Callable[[Any], Any]:
    """Add the flags of a command that trains: the run's folder, and each setting."""

    def decorated(command: Any) -> Any:
        for option in reversed([*RUN, *map(_flag, fields_of(kind).values())]):
            command = option(command)
        return command

    return decorated


def _flag(field: Field) -> Any:
    """Make the flag of a setting; what it leaves unsaid has no value."""
    name = field.name.replace("_", "-")
    if field.type is bool:
        text = f"{field.rule.help} [default: {'yes' if field.default else 'no'}]"
        return click.option(f"--{name}/--no-{name}", field.name, default=None, help=text)
    return click.option(
        f"--{name}",
        field.name,
        type=str if field.length is not None else field.type,
        metavar=_metavar(field),
        help=field.rule.help + _default(field),
    )


def _metavar(field: Field) -> str:
    one = "|".join(field.rule.choices) or {str: "TEXT", int: "N", float: "X"}[field.type]
    if field.length is None:
        return one
    return ",".join([one] * field.length or [one, "..."])


def _default(field: Field) -> str:
    """Tell the default, where the help does not tell what None means."""
    if field.default is None:
        return ""
    many = field.default if isinstance(field.default, tuple) else (field.default,)
    shown = ",".join(f"{one:g}" if isinstance(one, float) else str(one) for one in many)
    return f" [default: {shown}]"


def given_settings(
    kind: type[Settings], config: Path | None, flags: dict[str, Any]
) -> dict[str, Any]:
    """Join a TOML file and the flags, which win over it."""
    told = {name: value for name, value in flags.items() if value is not None}
    if config is None:
        return told
    if is_paper(config) and kind.PAPER:
        return kind.PAPER | told
    return kind.require_known(read_toml(config), str(config)) | told


def is_paper(config: Path | None) -> bool:
    """Whether the published protocol is asked for: a length to be told before it begins."""
    return config == Path("paper")


def settle(
    kind: type[Kind], out: Path, given: dict[str, Any], resume: bool, overwrite: bool
) -> Kind:
    """Settle what to run: a stored run's settings, or those given."""
    stored = out / "config.toml"
    if not stored.exists() or (overwrite and not resume):
        return kind(**given)
    if not resume:
        raise UserError(f"{out}: the run exists already; pass --resume, or --overwrite")
    settings = kind.from_toml(stored)
    # Through the same checks, so that 1 and 1.0 are the same number.
    wanted = kind(**{**vars(settings), **given})
    for name in given:
        before, now = getattr(settings, name), getattr(wanted, name)
        if before != now:
            raise UserError(f"{out}: {name}: the run was begun with {before}, received {now}")
    return settings


def train_run(
    run: Any, shown: Sequence[str], began: float, foretell: bool = False, use: str = ""
) -> None:
    """Train to the end, if it is not there yet: a bar on a terminal, else a line a row of the log.

    Args:
        run: A `TrainingRun`.
        shown: The row's columns, where it has them.
        began: As of `TrainingRun`; before a framework was imported, which takes seconds.
        foretell: As of `TrainingRun`.
        use: What the trained network is for, told at the end.
    """
    if run.finished:
        click.echo(f"{run.folder}: finished at step {run.step}")
        return

    def print_row(row: dict[str, Any]) -> None:
        numbers = "  ".join(f"{name} {float(row[name]):.4g}" for name in shown if name in row)
        click.echo(f"step {row['step']}: {numbers}")

    def introduce(text: str) -> None:
        clear_line()
        click.echo(text)

    run.began, run.foretell = began, foretell
    on_terminal = sys.stderr.isatty()
    note("compiling: the first step takes longest")
    try:
        run.train(None if on_terminal else print_row, int(on_terminal), introduce)
    except FloatingPointError as error:
        complain("error", error)
        sys.exit(1)
    click.echo(f"{run.folder}: step {run.step}{use and '; use it with '}{use}")
