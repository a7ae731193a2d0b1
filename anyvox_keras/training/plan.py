"""How many steps a number of minutes holds: the pace measured, the plan made from it."""

import dataclasses
import math
import time
from dataclasses import dataclass
from typing import Any, TypeVar

import keras

from anyvox_keras.backend import agreed, to_numpy
from anyvox_keras.training.settings import Settings

Kind = TypeVar("Kind", bound=Settings)

#: share of the time that is planned with; the rest is for files and for steps that take longer
_PLANNED = 0.96
#: largest share of the time that validations may take, and the most of them
_VALIDATING, _VALIDATIONS = 0.15, 10
#: rows of the log
_ROWS = 40
#: a pace is measured over at least so many steps after the first, and at most this share of the
#: time, or this many seconds
_LEAST_STEPS, _SHARE, _LONGEST = 2, 0.04, 30.0


@dataclass(frozen=True)
class Pace:
    """What parts of a training take on this machine, in seconds.

    Args:
        start: What the first step took beyond a step: tracing and compiling.
        step: One step.
        validation: One validation.
    """

    start: float
    step: float
    validation: float

    def length(self, settings: Settings) -> float:
        """Seconds of a run of known steps."""
        count = -(-settings.steps // settings.validate_every)
        return self.start + settings.steps * self.step + count * self.validation


class Stopwatch(keras.callbacks.Callback):
    """Time the steps of `fit`, and stop it once their pace is known.

    Args:
        seconds: How long to go on after the first step, if enough steps were seen by then.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.ends = [time.monotonic()]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the time."""
        self.ends.append(time.monotonic())
        known = len(self.ends) > 1 + _LEAST_STEPS
        self.model.stop_training = agreed(known and self.ends[-1] - self.ends[1] > self.seconds)

    def pace(self) -> tuple[float, float]:
        """Return what the first step took beyond a step, and a step."""
        first, *later = (b - a for a, b in zip(self.ends, self.ends[1:], strict=False))
        step = sum(later) / len(later)
        return max(first - step, 0.0), step


def steps_pace(model: Any, stream: Any, seconds: float) -> tuple[float, float]:
    """Train for a moment, and put the model back to where it was; return `Stopwatch.pace`.

    Args:
        model: Compiled; its optimizer is to be made anew by the caller.
        stream: What it is trained on; it is left at its first sample.
        seconds: Length of the whole run.
    """
    watch = Stopwatch(min(_SHARE * seconds, _LONGEST))
    before = [(variable, to_numpy(variable).copy()) for variable in model.own_variables]
    stream.steps = 1000
    model.fit(stream, callbacks=[watch], verbose=0)
    for variable, value in before:
        variable.assign(value)
    stream.seek(0)
    return watch.pace()


def planned(settings: Kind, pace: Pace, seconds: float) -> Kind:
    """Fill in steps and their intervals, so that a run takes `seconds`.

    Args:
        settings: What is given stays as it is.
        pace: As measured.
        seconds: What is left of the run's time.
    """
    left = _PLANNED * seconds - pace.start
    most = int(_VALIDATING * left / pace.validation) if pace.validation else _VALIDATIONS
    count = min(max(most, 1), _VALIDATIONS)
    steps = max(1, int((left - count * pace.validation) / pace.step))
    return with_steps(settings, steps, count)


def with_steps(settings: Kind, steps: int, validations: int = _VALIDATIONS) -> Kind:
    """Set the number of steps, and the intervals of log and validations where none are given."""
    given = [every for name in settings.logged if (every := getattr(settings, name))]
    log = settings.log_every or math.gcd(max(1, steps // _ROWS), *given)
    every = settings.validate_every or log * -(-steps // (log * validations))
    return dataclasses.replace(settings, steps=steps, log_every=log, validate_every=every)


def duration(seconds: float) -> str:
    """Spell a time in its usual unit.

    Example:
        ```python
        >>> duration(86400 * 91)
        '91 days'
        ```
    """
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"
