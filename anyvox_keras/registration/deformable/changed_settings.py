"""Any setting of the search by its name, as a command line or a TOML file spells it."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from anyvox_keras.errors import UserError
from anyvox_keras.registration.deformable.settings import Level

Settings = TypeVar("Settings")
_LEVELS = re.compile(r"\d+x\d+(\+\d+x\d+)*")


def changed(settings: Settings, choices: Mapping[str, Any], within: str = "") -> Settings:
    """Return settings with some of them set to other values.

    Args:
        settings: `DeformSettings`, say.
        choices: Names and values. A dot leads into a group, `adam.smoothness`. Text is read as
            TOML has it (`1.5`, `true`, `cosine` without quotes); levels are spelled `4x2+2x3`:
            blocks of 4 voxels searched 2 steps around, then blocks of 2 searched 3 around.
        within: The group's name, for messages.

    Raises:
        UserError: An unknown name, or a value that the setting cannot take.

    Example:
        ```python
        from anyvox_keras.registration import changed, settings_of

        settings = changed(settings_of("default"), {"adam.smoothness": 1, "levels": "4x2+2x2"})
        ```
    """
    for path, value in choices.items():
        name, _, rest = path.partition(".")
        where = f"{within}{name}"
        before = _before(settings, name, bool(rest), where)
        if rest:
            now = changed(before, {rest: value}, f"{where}.")
        else:
            now = _fitting(where, name, before, _read(value))
        try:
            settings = replace(settings, **{name: now})  # type: ignore[type-var]
        except ValueError as error:
            raise UserError(f"{where}: {error}") from error
    return settings


def _before(settings: Any, name: str, group: bool, where: str) -> Any:
    """Return what a setting is now; only a group has names of its own."""
    known = {field.name: getattr(settings, field.name) for field in fields(settings)}
    if name not in known or is_dataclass(known[name]) != group:
        names = [f"{n}.*" if is_dataclass(value) else n for n, value in known.items()]
        raise UserError(f"set: expected one of {', '.join(names)}, received {where}")
    return known[name]


def _read(value: Any) -> Any:
    if not isinstance(value, str) or _LEVELS.fullmatch(value):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _fitting(where: str, name: str, before: Any, value: Any) -> Any:
    """Return the value in the setting's own type."""
    if name == "levels":
        return _levels(where, value)
    if isinstance(before, tuple) and isinstance(value, list):
        value = tuple(value)
    kind = float if before is None else type(before)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        expected = {
            bool: "true or false", int: "a whole number", float: "a number", tuple: "a list",
        }  # fmt: skip
        raise UserError(f"{where}: expected {expected.get(kind, 'text')}, received {value}")
    return value


def _levels(where: str, value: Any) -> tuple[Level, ...]:
    if not isinstance(value, str) or not _LEVELS.fullmatch(value):
        raise UserError(f"{where}: expected BLOCKxSTEPS+..., as in 4x2+2x3, received {value}")
    try:
        return tuple(Level(*map(int, level.split("x"))) for level in value.split("+"))
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
