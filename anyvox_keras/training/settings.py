"""Settings of a run, as flags and one TOML file give them."""

import dataclasses
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from anyvox_keras.errors import UserError


class TomlSettings:
    """The base of a frozen dataclass of strings, numbers and booleans, each with a default."""

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "settings") -> Self:
        """Build from names and values; unknown names and wrong types are mistakes."""
        fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(values) - set(fields))
        if unknown:
            raise UserError(
                f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(fields)}"
            )
        return cls(**{name: _typed(where, fields[name], v) for name, v in values.items()})

    def numbers(self, name: str) -> list[float]:
        """Read a comma-separated setting."""
        text = getattr(self, name)
        try:
            return [float(part) for part in text.split(",") if part]
        except ValueError as error:
            raise UserError(f"{name}: expected numbers like 0.2,0.8, received {text}") from error

    def require_at_least(self, least: float, *names: str) -> None:
        """Refuse numbers below `least`."""
        for name in names:
            if not (value := getattr(self, name)) >= least:
                raise UserError(f"{name}: expected at least {least:g}, received {value}")

    def require_share(self, *names: str) -> None:
        """Refuse numbers outside [0, 1]."""
        for name in names:
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise UserError(f"{name}: expected a share in [0, 1], received {value}")

    def require_one_of(self, choices: Mapping[str, Sequence[str]]) -> None:
        """Refuse words that are not among the choices of their setting."""
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                raise UserError(f"{name}: expected one of {', '.join(known)}, received {value}")

    def require_multiple_of(self, step: str, *names: str) -> None:
        """Refuse numbers that are no multiple of another setting."""
        for name in names:
            if (value := getattr(self, name)) % getattr(self, step):
                raise UserError(f"{name}: expected a multiple of {step}, received {value}")

    def to_toml(self) -> str:
        """Write all settings as TOML."""
        values = dataclasses.asdict(self).items()  # type: ignore[call-overload]
        # Strings, numbers and booleans look the same in JSON and TOML.
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values)


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file's names and values."""
    try:
        return tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from error


def _typed(where: str, field: Any, value: Any) -> Any:
    expected = type(field.default)
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise UserError(f"{where}: {field.name}: expected {expected.__name__}, received {value!r}")
    return value
