"""One setting: what it means, which values it may hold, how they are written."""

import contextlib
import dataclasses
import math
import numbers
import os
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from anyvox_keras.errors import UserError, require_one_of

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
