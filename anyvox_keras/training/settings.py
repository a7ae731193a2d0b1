"""Settings of a run, as flags, a TOML file or Python give them, and what each field may be."""

import contextlib
import dataclasses
import json
import math
import numbers
import os
import tomllib
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin

from anyvox_keras.errors import UserError, require_one_of
from anyvox_keras.types import Precision

#: length of a run for which neither steps nor minutes are given
MINUTES = 60.0
#: what counts as a value of each type: NumPy's numbers, too
ABSTRACT: dict[type, type] = {
    bool: bool,
    int: numbers.Integral,
    float: numbers.Real,
    str: str,
}


@dataclass(frozen=True)
class Setting:
    """What one field of `Settings` means and may hold.

    Attributes:
        help: What it is, in whole sentences with units; the command line shows it.
        least: Smallest number allowed.
        most: Largest number allowed.
        above: Bound that a number must exceed.
        below: Bound that a number must stay under.
        choices: The words allowed, which a `Literal` names; empty allows all.
        none: Number that stood for None in version 0.1, and still does.
        planned: Whether it may be None until the run that it is a setting of plans it.
    """

    help: str
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    choices: Sequence[str] = ()
    none: int | None = None
    planned: bool = False

    def check(self, name: str, value: Any) -> None:
        """Refuse a number out of bounds or a word that is no choice."""
        if self.choices:
            require_one_of(name, value, self.choices)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{name}: expected a finite number, received {value}")
        if isinstance(value, str):
            return
        inside = self.least <= value <= self.most and self.above < value < self.below
        if not inside:
            raise UserError(f"{name}: expected {self._bounds()}, received {value}")

    def _bounds(self) -> str:
        words = {"at least": self.least, "above": self.above}
        words |= {"at most": self.most, "below": self.below}
        return " and ".join(f"{word} {n:g}" for word, n in words.items() if math.isfinite(n))


def setting(default: Any, help: str, **rules: Any) -> Any:  # noqa: A002
    """Declare a field of `Settings`; `rules` are those of `Setting`."""
    return dataclasses.field(default=default, metadata={"setting": Setting(help, **rules)})


@dataclass(frozen=True)
class Field:
    """One field of a class of settings, as its annotation and its `Setting` tell.

    Attributes:
        name: Its name.
        type: The type of its value, or of each of its values.
        length: How many values a tuple has: 0 for any number, None where it is no tuple.
        optional: Whether it may be None.
        default: Its default.
        rule: Meaning and bounds.
    """

    name: str
    type: Any
    length: int | None
    optional: bool
    default: Any
    rule: Setting

    def parse(self, value: Any) -> Any:
        """Return the value as the field's type, checked.

        Raises:
            UserError: Naming the field, what is expected and what was received.
        """
        # "", and 0 or -1, stood for None in version 0.1.
        if self.optional and value in (None, "", self.rule.none):
            return None
        if self.length is None:
            found = self._convert(value)
            self.rule.check(self.name, found)
            return found
        parts = value.split(",") if isinstance(value, str) else value
        parts = parts if isinstance(parts, list | tuple) else [parts]
        many = tuple(self._convert(part, text=True) for part in parts if part != "")
        if self.length and len(many) != self.length:
            raise UserError(f"{self.name}: expected {self.length} values, received {value}")
        for one in many:
            self.rule.check(self.name, one)
        return many or (None if self.optional else many)

    def _convert(self, value: Any, text: bool = False) -> Any:
        """Return one value as the field's type; `text` allows a number to be spelt."""
        if self.type is str and isinstance(value, str | os.PathLike):
            return os.fspath(value).strip() if text else os.fspath(value)
        is_bool = isinstance(value, bool)  # which is an integer to Python
        if isinstance(value, ABSTRACT[self.type]) and is_bool == (self.type is bool):
            return self.type(value)
        with contextlib.suppress(ValueError):
            if text and isinstance(value, str):
                return self.type(value)
        expected = self.type.__name__ if self.length is None else f"{self.type.__name__}s like 1,2"
        raise UserError(f"{self.name}: expected {expected}, received {value!r}")


def fields_of(kind: type) -> dict[str, Field]:
    """Return the fields of a class of settings, in the order of their definition."""
    return {field.name: _field(kind, field) for field in dataclasses.fields(kind)}


def _field(kind: type, field: Any) -> Field:
    """Read one field's annotation; meaning and bounds may come from the base that began it."""
    inherited = (
        vars(base).get("__dataclass_fields__", {}).get(field.name) for base in kind.__mro__
    )
    rule = next(one.metadata["setting"] for one in inherited if one and "setting" in one.metadata)
    of, optional, length = field.type, rule.planned, None
    if get_origin(of) in (Union, types.UnionType):
        of, optional = get_args(of)[0], True
    if get_origin(of) is tuple:
        parts = get_args(of)
        of, length = parts[0], 0 if parts[-1] is Ellipsis else len(parts)
    if get_origin(of) is Literal:
        of, rule = str, dataclasses.replace(rule, choices=get_args(of))
    return Field(field.name, of, length, optional, field.default, rule)


@dataclass(frozen=True)
class Settings:
    """Settings that every run has; the base of the three kinds.

    A field is a bool, a number, a string or a tuple of numbers or strings, or None where it may be
    unset. Values are brought to these types when an object is made: a tuple may be given as a list
    or as a string with commas, as on the command line. A subclass may give a field another default
    by naming it again.

    Raises:
        UserError: If a value has another type, is out of bounds, NaN or infinite.

    Example:
        ```python


        settings = Settings(steps=300, log_every=10, validate_every=100)
        print(settings.to_toml())
        ```
    """

    #: settings that are multiples of log_every
    logged: ClassVar[tuple[str, ...]] = ("validate_every",)

    #: what `--config paper` stands for; empty where there is no published protocol
    PAPER: ClassVar[dict[str, Any]] = {}

    steps: int = setting(
        None, "Length of the run in steps. By default as many as fit into minutes.", least=1,
        planned=True,
    )  # fmt: skip
    minutes: float | None = setting(
        None,
        "Length of the run in minutes, all of it: steps, the law of the learning rate and "
        "validations are planned by what the machine is measured to do. By default 60, where there "
        "are no steps.",
        above=0,
    )
    batch_size: int = setting(1, "Samples per step.", least=1)
    seed: int = setting(0, "Seed of everything that is drawn: data and initial weights.")
    precision: Precision = setting(
        "float32",
        "Type of number that the network computes in; auto is bfloat16 where the device has "
        "arithmetic for it, else float32.",
    )
    log_every: int = setting(
        None, "Steps between two rows of log.csv. By default a fortieth of the run.", least=1,
        planned=True,
    )  # fmt: skip
    validate_every: int = setting(
        None,
        "Steps between two validations, a multiple of log-every. By default a tenth of the run, or "
        "more where they take long.",
        least=1,
        planned=True,
    )
    patience: int | None = setting(
        None,
        "Stop after this many validations in a row without a lower loss. By default the run goes "
        "on to its last step.",
        least=1,
        none=0,
    )

    def __post_init__(self) -> None:
        """Bring every value to its type and refuse what cannot be used."""
        for name, field in fields_of(type(self)).items():
            object.__setattr__(self, name, field.parse(getattr(self, name)))
        self.check()

    def check(self) -> None:
        """Refuse settings that do not fit together; subclasses add theirs."""
        # A stored plan holds both, and how often it validates.
        if None not in (self.steps, self.minutes) and self.validate_every is None:
            raise UserError(f"minutes: expected none beside steps, received {self.minutes:g}")
        if self.log_every is not None:
            self.require_multiple_of("log_every", *self.logged)

    @property
    def seconds(self) -> float:
        """How long a run without steps goes on."""
        return 60 * (MINUTES if self.minutes is None else self.minutes)

    def agrees_with(self, stored: Self) -> bool:
        """Whether they are a run's stored settings, but for what a run plans itself."""
        return all(
            getattr(self, name) == getattr(stored, name)
            or (field.rule.planned and getattr(self, name) is None)
            for name, field in fields_of(type(self)).items()
        )

    def require_multiple_of(self, step: str, *names: str) -> None:
        """Refuse numbers that are no multiple of another setting."""
        for name in names:
            if (value := getattr(self, name)) is not None and value % getattr(self, step):
                raise UserError(f"{name}: expected a multiple of {step}, received {value}")

    def require(self, name: str) -> Any:
        """Return a setting that this kind of run needs, and refuse None."""
        if (value := getattr(self, name)) is None:
            raise UserError(f"expected --{name}: {fields_of(type(self))[name].rule.help}")
        return value

    @classmethod
    def require_known(cls, values: dict[str, Any], where: str = "settings") -> dict[str, Any]:
        """Return the values if all their names are settings."""
        known = fields_of(cls)
        if unknown := [name for name in values if name not in known]:
            raise UserError(
                f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(known)}"
            )
        return values

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Self:
        """Read a TOML file; it may have been written by version 0.1.

        Raises:
            UserError: If the file cannot be read, or a setting is unknown or cannot be used.
        """
        values = cls.require_known(read_toml(path), str(path))
        try:
            return cls(**values)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def to_toml(self) -> str:
        """Write all settings as TOML; one that is unset stands in a comment."""
        lines = (
            # Strings, numbers, booleans and lists look the same in JSON and TOML.
            f"# {name} is not set" if value is None else f"{name} = {json.dumps(value)}"
            for name, value in vars(self).items()
        )
        return "".join(f"{line}\n" for line in lines)


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file's names and values."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from error
