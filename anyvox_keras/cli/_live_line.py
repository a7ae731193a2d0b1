"""What a command is doing: one line on the terminal, or JSON for programs."""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from anyvox_keras.errors import one_line
from anyvox_keras.progress import LOGGER

#: seconds: estimates from less than this are guesses
_SOON = 2.0


@contextlib.contextmanager
def shown(arguments: Sequence[str]) -> Iterator[None]:
    """Show the records of `anyvox_keras.progress` on stderr while a command runs.

    Args:
        arguments: Of the command: with `--json` each record is a line of JSON; else they are drawn
            if stderr is a terminal, with `--quiet` not even then.
    """
    if "--json" in arguments:
        handler: LiveLine | JsonLines = JsonLines()
    elif "--quiet" not in arguments and sys.stderr.isatty():
        handler = LiveLine()
    else:
        yield
        return
    level = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        LOGGER.removeHandler(handler)
        handler.close()


def complain(kind: str, message: object) -> None:
    """Say what is wrong in one line on stderr, for people or, where they ask for it, programs.

    Args:
        kind: "error" or "warning".
        message: What is said, in however many lines.
    """
    line = one_line(message)
    if any(isinstance(handler, JsonLines) for handler in LOGGER.handlers):
        write_json_line(**{kind: line})
    else:
        click.echo(f"anyvox: {kind}: {line}", err=True)


class JsonLines(logging.Handler):
    """Writes each record as a JSON object on a line of stderr.

    A stage has `stage`, `detail` and `done` from 0 to 1, a plan of stages `plan`, all else `note`.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        told: dict[str, Any] = dict(vars(record))
        content: dict[str, Any] = {
            name: told[name] for name in ("plan", "stage", "detail", "done") if name in told
        }
        write_json_line(**(content or {"note": record.getMessage()}))


def write_json_line(**content: Any) -> None:
    """Write an object, and `time`, seconds since 1970, on a line of stderr."""
    print(json.dumps({"time": time.time(), **content}, default=str), file=sys.stderr, flush=True)


def clear_line() -> None:
    """Take the line away, before somebody else draws on the terminal."""
    for handler in LOGGER.handlers:
        if isinstance(handler, LiveLine):
            handler.clear()


class LiveLine(logging.Handler):
    """Draws stages as one line that is replaced, and all else that is told as lines that stay.

    Args:
        console: Of Rich; stderr by default.
    """

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console

        super().__init__(logging.INFO)
        self.console = console or Console(stderr=True, highlight=False)
        self.clock = Clock()
        self._bar: Any = None

    def emit(self, record: logging.LogRecord) -> None:
        """Draw one record."""
        told = vars(record)
        if "plan" in told:
            self.clock = Clock(told["plan"])
        elif "stage" in told:
            self.clock.begin(told["stage"], told["done"])
            self._draw(record.getMessage())
        else:
            self.console.print(
                record.getMessage(), style="dim", soft_wrap=True, highlight=False, markup=False
            )

    def _draw(self, text: str) -> None:
        from rich import progress

        if self._bar is None:
            left: Any = type(
                "Left", (progress.ProgressColumn,), {"render": lambda _, task: self._left()}
            )
            columns = (
                progress.SpinnerColumn("line"),
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(24),
                progress.TimeElapsedColumn(),
                left(),
            )
            self._bar = progress.Progress(*columns, console=self.console, transient=True)
            self._bar.add_task(text, total=None)
            self._bar.start()
        share = self.clock.share
        total = None if share is None else 1.0
        self._bar.update(0, description=text, total=total, completed=share or 0.0)

    def _left(self) -> Any:
        from rich.text import Text

        left = self.clock.left()
        return Text("" if left is None else f"about {_words(left)} left", style="cyan")

    def clear(self) -> None:
        """Take the line away; the next stage draws it anew."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.clear()
        super().close()


class Clock:
    """Estimates what is left of planned stages from how long those before took.

    Args:
        plan: Stage to its share of the time; a stage that is not planned counts nothing, and
            without a plan each stage is judged by itself.
    """

    def __init__(self, plan: dict[str, float] | None = None) -> None:
        self.plan, self.total = plan or {}, sum((plan or {}).values())
        self.started = self.told = time.monotonic()
        self.share: float | None = 0.0 if plan else None
        self.stage = ""

    def begin(self, stage: str, done: float) -> None:
        """Note that so much of a stage is done."""
        self.told = time.monotonic()
        if not self.plan:
            self.started = self.started if stage == self.stage else self.told
            self.share = done or None
        elif stage in self.plan:
            names = list(self.plan)
            before = sum(self.plan[name] for name in names[: names.index(stage)])
            self.share = (before + done * self.plan[stage]) / self.total
        self.stage = stage

    def left(self) -> float | None:
        """Return the seconds that are left, if anything is known of them."""
        took = self.told - self.started
        if not self.share or took < _SOON:
            return None
        return max(0.0, took / self.share * (1 - self.share) - (time.monotonic() - self.told))


def _words(seconds: float) -> str:
    """Say a duration as a person would."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
