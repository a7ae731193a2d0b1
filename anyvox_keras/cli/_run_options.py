"""What the commands that train into a folder share: flags, TOML, refusing, resuming."""

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any, TypeVar

import click

from anyvox_keras._errors import UserError
from anyvox_keras.contrastive.toml_settings import TomlSettings, read_toml

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
    if stored.exists() and overwrite and not resume:
        _remove(out)
    if not stored.exists():
        return kind.from_dict(given)
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
    )
    for name in names:
        (out / name).unlink(missing_ok=True)
    for name in ("backbone", "pictures", "tensorboard"):
        shutil.rmtree(out / name, ignore_errors=True)
