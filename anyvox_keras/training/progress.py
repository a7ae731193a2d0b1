"""What happens beside the steps of a run: log, validation, and its end."""

import contextlib
import csv
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from anyvox_keras.backend import agreed, peers, to_numpy
from anyvox_keras.errors import UserError
from anyvox_keras.io import atomic
from anyvox_keras.pictures import curves_picture, save_figure
from anyvox_keras.training.checkpoint import Checkpoint, averaged, sync_state

LOG, CURVES = "log.csv", "progress.png"
#: seconds between two pictures of the curves; a shorter run has none
DRAWN_EVERY = 60.0
Report = Callable[[dict[str, Any]], None]


class RunProgress(keras.callbacks.Callback):
    """Rows of the log, validations and the end of a run, in this order at each step.

    Args:
        run: The `TrainingRun`, for its folder and settings.
        checkpoint: What judges validations, and saves the run as the next callback of `fit`; it
            knows the step from which the run goes on.
        columns: Metrics of the log beside the loss.
        validate: Measures a model; its values are logged with `val_` in front.
        report: Called with each row of the log.
        clock: That of a run of so many minutes.

    Attributes:
        replanned: Number of steps to end in time with, where the pace has changed; `fit` then ends
            for the caller to `go_on` with it.
    """

    def __init__(
        self,
        run: Any,
        checkpoint: Checkpoint,
        columns: Sequence[str],
        validate: Callable[[keras.Model], dict[str, float]],
        report: Report | None,
        clock: "Clock | None" = None,
    ) -> None:
        super().__init__()
        self.settings, self.pairs_per_step = run.settings, run.pairs_per_step
        self.loss_of = run.loss_of
        self.clock = clock
        self.replanned: int | None = None
        self.checkpoint = checkpoint
        self.validate = validate
        self.report = report
        names = ["loss", *columns]
        fixed = ["step", "pairs", "learning_rate", "pairs_per_second"]
        columns = [*fixed, *names, *(f"val_{name}" for name in names)]
        self.log = RunLog(run.folder / LOG, columns)
        self.step = checkpoint.step
        self.curves, self._drawn = run.folder / CURVES, time.monotonic()
        self._since = (time.monotonic(), self.step)

    def set_model(self, model: keras.Model) -> None:
        """Forget the log's rows after the step the run goes on from."""
        super().set_model(model)
        self.log.rewind(self.step)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Do what this step asks for."""
        self.step += 1
        step, done = self.step, self.step >= self.settings.steps
        if logs is not None:
            # Shown by Keras's bar, which reads the same dict after this callback.
            logs["pairs_per_second"] = self._pairs_per_second()
        if step % self.settings.log_every == 0 or done:
            self._write_row(step, dict(logs or {}), done)
            if self.clock is not None and not done:
                self.replanned = agreed(self.clock.replan(step, self.settings))
        if done or self.checkpoint.stopped or self.replanned is not None:
            self.model.stop_training = True

    def go_on(self, settings: Any) -> None:
        """Take the new number of steps."""
        self.settings, self.replanned = settings, None

    def _write_row(self, step: int, logs: dict[str, Any], done: bool) -> None:
        facts = {"step": step, "pairs": step * self.pairs_per_step}
        # Of several devices TensorFlow keeps the rate on each.
        rate = float(to_numpy(self.model.optimizer.learning_rate))
        row = {**facts, "learning_rate": rate, **logs}
        sync_state(self.model)
        if step % self.settings.validate_every == 0 or done:
            row |= self._validate()
            self.checkpoint.judge(self.loss_of(row), self.settings.patience)
        self.model.reset_metrics()
        self.log.append(row)
        self._draw(done)
        if self.report is not None:
            self.report(row)
        self._since = (time.monotonic(), step)

    def _draw(self, done: bool) -> None:
        """Renew the picture of the log, now and then and at the end."""
        due = time.monotonic() - self._drawn > DRAWN_EVERY or (done and self.curves.exists())
        if peers()[0] or not due:
            return
        with open(self.log.path, newline="") as file:
            figure = curves_picture(csv.DictReader(file))
        with contextlib.suppress(OSError, UserError):  # a picture is not worth a run
            save_figure(figure, self.curves, overwrite=True, dpi=100)
        self._drawn = time.monotonic()

    def _pairs_per_second(self) -> float:
        then, before = self._since
        pairs = (self.step - before) * self.pairs_per_step
        return round(pairs / max(time.monotonic() - then, 1e-9), 3)

    def _validate(self) -> dict[str, float]:
        with averaged(self.model):
            # Of statistics that are each process's own, as of batches, the first one's are saved.
            results = agreed(self.validate(self.model))
        return {f"val_{name}": float(value) for name, value in results.items()}


class Clock:
    """Whether a run of so many minutes keeps its plan, and what number of steps would.

    Args:
        deadline: When the run should end, in seconds since the epoch.
        start: Seconds of compiling, at the beginning and after each change of the plan.
    """

    def __init__(self, deadline: float, start: float = 0.0) -> None:
        self.deadline, self.start = deadline, start
        self._compiled, self._changed = start, time.time()
        self._rows: list[tuple[float, int]] = [(self._changed, 0)]

    def replan(self, step: int, settings: Any) -> int | None:
        """Look at the time; return another number of steps if the plan is missed by too much.

        The pace is that of the later half of the steps, validations included, compiling not: other
        work on the machine comes and goes. Between two changes lies an eighth of the run's length,
        or four times what a change costs, so that the plan can follow to the end.
        """
        now = time.time()
        self._rows.append((now - self._compiled, step))
        pause = max(_PAUSE * settings.seconds, _PAUSE_IN_STARTS * self.start)
        if now - self._changed < pause:
            return None
        then, since = next(row for row in self._rows[-2::-1] if 2 * row[1] <= step)
        pace = (now - self._compiled - then) / max(step - since, 1)
        missed = abs(self.deadline - now - pace * (settings.steps - step))
        if missed < _TOLERANCE * settings.seconds:
            return None
        self._compiled, self._changed = self._compiled + self.start, now
        return step + max(1, int(_KEPT * (self.deadline - now - self.start) / pace))


#: what lies between two changes of a plan at least: a share of the run's length, or times what a
#: change costs
_PAUSE, _PAUSE_IN_STARTS = 1 / 8, 4.0
#: by which share of its length a run may miss its end; the share of the time left that is planned
#: with
_TOLERANCE, _KEPT = 0.04, 0.98


class RunLog:
    """`log.csv`: one row every few steps, written by the first of several processes.

    Keras's `CSVLogger` appends whatever comes; this one forgets the rows after the step from which
    a run goes on, so that a resumed log reads as an unbroken one.

    Args:
        path: The CSV file.
        columns: Names of all columns, the first of them `step`.
    """

    def __init__(self, path: str | os.PathLike[str], columns: list[str]) -> None:
        self.path = Path(path)
        self.columns = columns

    def rewind(self, step: int) -> None:
        """Keep the rows up to and including `step`."""
        if peers()[0]:
            return
        rows = []
        if self.path.exists():
            with open(self.path, newline="") as file:
                # A row cut short by a kill has an empty last column at most; it is beyond `step`.
                rows = [row for row in csv.DictReader(file) if _step(row) <= step]
        with atomic(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)

    def append(self, row: dict[str, Any]) -> None:
        """Add a row; absent columns stay empty."""
        if peers()[0]:
            return
        with open(self.path, "a", newline="") as file:
            csv.DictWriter(file, self.columns, extrasaction="ignore").writerow(row)
            file.flush()
            os.fsync(file.fileno())


def _step(row: dict[str, str]) -> float:
    try:
        return int(row["step"])
    except (KeyError, TypeError, ValueError):
        return float("inf")


class StopOnNonFinite(keras.callbacks.Callback):
    """End `fit` with an error that names the pair to blame, before anything is saved.

    Put it in front of callbacks that save.

    Args:
        stream: The stream that is trained on; its seed, pair numbers and keys are printed.

    Raises:
        FloatingPointError: From `fit`, at the first step whose loss is NaN or infinite.

    Example:
        ```python
        bank = avx.TemplateBank.geometric(20, side=16)
        stop = StopOnNonFinite(avx.SyntheticStream(bank, side=16))
        # pretrainer.fit(stream, callbacks=[stop])
        ```
    """

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self.stream = stream

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the loss."""
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            first = self.stream.position + batch * self.stream.batch_size
            last = first + self.stream.batch_size - 1
            keys = self.stream[batch][0]["keys"].tolist()
            raise FloatingPointError(
                f"the loss is {loss} at pairs {first} to {last} of seed {self.stream.seed} "
                f"(keys {keys}); the last checkpoint is sound"
            )
