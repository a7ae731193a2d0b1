"""A training in a folder: begun, watched, killed, resumed."""

import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import keras

from anyvox_keras.backend import agreed, has_bfloat16, on_devices, peers
from anyvox_keras.errors import UserError
from anyvox_keras.io import atomic, exclusive, prepare_folder, require_room
from anyvox_keras.progress import note
from anyvox_keras.training.checkpoint import BEST, LAST, STATE, Checkpoint, read_facts, room_of
from anyvox_keras.training.plan import Pace, duration, planned, steps_pace, with_steps
from anyvox_keras.training.progress import CURVES, LOG, Clock, Report, RunProgress, StopOnNonFinite
from anyvox_keras.training.settings import Settings
from anyvox_keras.types import Precision

CONFIG = "config.toml"
PLANNED_HOUR = ", since neither steps nor minutes are given"
#: steps of a run whose length is not known yet
PROVISIONAL = 1000
#: seconds of a run by which the look before it is measured
LOOK = 300.0
#: everything that a run writes; nothing else in its folder is its own to remove
FILES = (STATE, LOG, CURVES, LAST, BEST, CONFIG, "classes.json", "network.keras")
FOLDERS = ("backbone", "features", "pictures", "tensorboard")
# sets of weights that a first checkpoint holds: the last ones, the network's for use, and in the
# state the weights and Adam's two means
_SETS = 5


class TrainingRun:
    """The base of runs: train by settings into a folder that a killed run goes on from.

    Files: `config.toml`, `log.csv`, `progress.png` (its curves, once a minute), `last.weights.h5`,
    `best.weights.h5`, `state`, `backbone/`. Subclasses write `streams`, `model` and `columns`.

    Args:
        folder: The run's folder.
        settings: Of `settings_class`.
        overwrite: Whether a run that exists is removed when this one begins.
        devices: How many devices train together, each on its part of a step's samples. They learn
            what one device does from the same samples, to rounding; a run may go on with another
            number. With PyTorch each is a process that `torchrun` starts.

    Attributes:
        settings: As given, then with all that the run settles and plans.
        planned: Whether the number of steps is settled.
        began: When a run's minutes begin to count, in seconds since the epoch; None for the call
            of `train`.
        foretell: Whether the length of a run of given steps is measured and told.

    Raises:
        UserError: If the folder's run has other settings, or the devices can't share a step evenly.
    """

    settings_class: type[Settings]

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: Any,
        overwrite: bool = False,
        devices: int = 1,
    ) -> None:
        self.folder, self.devices = Path(folder), devices
        self._given = settings
        self.planned = settings.steps is not None
        self.began: float | None = None
        self.foretell = False
        # Until it is planned, any length does.
        self.settings = with_steps(settings, settings.steps or PROVISIONAL)
        self._replaces = overwrite
        config = self.folder / CONFIG
        if config.exists() and not overwrite:
            stored = self.read_settings(folder)
            if not settings.agrees_with(stored):
                raise UserError(f"{folder}: the run was begun with other settings, see {config}")
            self.settings, self.planned = stored, True
        if self.settings.batch_size % devices:
            raise UserError(
                f"batch_size: expected a multiple of the {devices} devices, "
                f"received {self.settings.batch_size}"
            )

    @classmethod
    def read_settings(cls, folder: str | os.PathLike[str]) -> Any:
        """Read the settings that a folder's run was begun with."""
        return cls.settings_class.from_toml(Path(folder) / CONFIG)

    @property
    def step(self) -> int:
        """Steps done, as the last checkpoint knows."""
        state = self.folder / STATE
        return int(read_facts(state)["step"]) if state.exists() and not self._replaces else 0

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        state = self.folder / STATE
        if self._replaces or not state.exists():
            return False
        return self.step >= self.settings.steps or bool(read_facts(state)["stopped"])

    def train(
        self,
        report: Report | None = None,
        verbose: int = 0,
        introduce: Callable[[str], Any] | None = None,
    ) -> keras.Model | None:
        """Train to the end, from the last checkpoint if there is one.

        Args:
            report: Called with each row of the log.
            verbose: Of `fit`: 1 shows Keras's progress bar.
            introduce: Called with a description of the network and the pipeline, once they exist,
                and with the plan of a run of so many minutes.

        Returns:
            The trained model; None if the run was finished before.
        """
        if self.finished:
            return None
        began = time.time() if self.began is None else self.began
        tell = introduce or _silence
        clock = None
        with on_devices(self.devices), contextlib.ExitStack() as held:
            with _nothing_left_if_refused(self.folder, held):
                self._keep_inputs()
                self.prepare()
                if not peers()[0]:
                    held.enter_context(exclusive(self.folder))
                stream, validation = self.streams()
                model = self.model()
                self._require_room(model)
                if introduce is not None:
                    introduce(self.describe(model, stream))
                if not self.planned:
                    deadline = began + self._given.seconds
                    start = self._plan(deadline, model, stream, validation, tell)
                    clock = Clock(deadline, start)
                elif self.foretell:
                    self._foretell(model, stream, validation, tell)
                self.begin()
                agreed(None)  # no process reads what the first one has yet to remove
            self._fit(model, stream, validation, report, verbose, clock)
        return model

    def _keep_inputs(self) -> None:
        """Refuse to replace a run that the new one begins from.

        Raises:
            UserError: naming the setting.
        """
        if not self._replaces or not self.folder.exists():
            return
        for name, value in asdict(self.settings).items():
            for text in value if isinstance(value, tuple) else (value,):
                path = Path(text) if isinstance(text, str) else None
                if path is not None and path.exists() and _holds(self.folder, path):
                    raise UserError(
                        f"{name}: {path} lies in the run {self.folder} that it replaces"
                    )

    def _require_room(self, model: Any) -> None:
        """Refuse to begin a run whose first checkpoint the disk can't hold.

        Raises:
            OSError: there is no room.
        """
        if not self._replaces and not (self.folder / STATE).exists():
            require_room(self.folder / LAST, _SETS * room_of(model))

    def _plan(
        self, deadline: float, model: Any, stream: Any, validation: Any, tell: Callable[[str], Any]
    ) -> float:
        """Settle how many steps there are; return the seconds of compiling, as measured.

        The model is then as it was.
        """
        given = self._given
        tell(f"planning {duration(given.seconds)}" + ("" if given.minutes else PLANNED_HOUR))
        pace = self._pace(model, stream, validation, given.seconds)
        free = {name: getattr(given, name) for name in ("steps", "log_every", "validate_every")}
        unplanned = dataclasses.replace(self.settings, **free)
        plan = planned(unplanned, pace, deadline - time.time())
        self.settings, self.planned = agreed(plan), True
        s = self.settings
        tell(
            f"plan: {s.steps} steps of {pace.step:.2g} s, a validation of {pace.validation:.2g} s "
            f"every {s.validate_every}, done at {_clock(deadline)}"
        )
        self.compile(model)
        return pace.start

    def _foretell(self, model: Any, stream: Any, validation: Any, tell: Any) -> None:
        """Measure, and tell how long it takes."""
        pace = self._pace(model, stream, validation, LOOK)
        length = pace.length(self.settings)
        tell(
            f"length: {self.settings.steps} steps of {pace.step:.2g} s, {duration(length)}, done "
            f"at {_clock(time.time() + length)}"
        )
        self.compile(model)

    def _pace(self, model: Any, stream: Any, validation: Any, seconds: float) -> Pace:
        model.bind(stream)
        start, step = steps_pace(model, stream, seconds)
        check = 0.0 if validation is None else self.validation_seconds(model, validation)
        # PyTorch does not compile the step; the others do so anew for the planned rates.
        compiled = 0.0 if keras.backend.backend() == "torch" else start
        return Pace(compiled, step, check)

    def _fit(
        self,
        model: Any,
        stream: Any,
        validation: Any,
        report: Report | None,
        verbose: int,
        clock: Clock | None,
    ) -> None:
        """Go on from the last checkpoint to the end."""
        model.bind(stream)
        checkpoint = Checkpoint(self.folder, stream)
        checkpoint.restore(model)

        def validate(model: Any) -> dict[str, float]:
            return {} if validation is None else self.validate(model, validation)

        progress = RunProgress(self, checkpoint, self.columns(model), validate, report, clock)
        extras = self.extras(checkpoint, validation)
        callbacks = [StopOnNonFinite(stream), *extras, progress, checkpoint]
        while not checkpoint.done(self.settings.steps):
            stream.seek(checkpoint.step * stream.batch_size)
            stream.steps = self.settings.steps - checkpoint.step
            model.fit(stream, callbacks=callbacks, verbose=verbose)
            if progress.replanned is not None:
                agreed(None)  # the first process has saved
                # Where an optimizer averages weights, Keras has put the averages in their place.
                checkpoint.restore(model)
                self._replan(model, progress)

    def _replan(self, model: Any, progress: RunProgress) -> None:
        """Go on with as many steps as the rest of the time holds, at the pace seen since."""
        self.settings = dataclasses.replace(self.settings, steps=progress.replanned)
        self.note_settings()
        note(f"plan: {self.settings.steps} steps now, at the pace of late")
        progress.go_on(self.settings)
        model.optimizer.learning_rate = self.rate()
        # What was traced holds the former rates.
        model.train_function = None

    @property
    def pairs_per_step(self) -> int:
        """Samples that a step trains on."""
        return int(self.settings.batch_size)

    @property
    def policy(self) -> str:
        """Name of the network's dtype policy."""
        return policy_of(self.settings.precision)

    def prepare(self) -> None:
        """Find the mistakes that show before training; nothing is written.

        Raises:
            UserError: If data or weights can't be used.
        """

    def begin(self) -> None:
        """Note the settings in the folder, which is then a run's; an overwritten one is removed."""
        if peers()[0]:
            self._replaces = False
            return
        if self._replaces:
            for name in FILES:
                (self.folder / name).unlink(missing_ok=True)
            for name in FOLDERS:
                shutil.rmtree(self.folder / name, ignore_errors=True)
            self._replaces = False
        for stale in self.folder.glob(".????????-*"):
            stale.unlink()
        self.note_settings()

    def note_settings(self) -> None:
        """Write the settings into the folder."""
        if peers()[0]:
            return
        with atomic(self.folder / CONFIG) as temporary:
            temporary.write_text(self.settings.to_toml(), encoding="utf-8")

    def streams(self) -> tuple[Any, Any]:
        """Make the endless training stream, and what `validate` reads (None for nothing)."""
        raise NotImplementedError

    def model(self) -> Any:
        """Make the network, compiled."""
        raise NotImplementedError

    def compile(self, model: Any) -> None:
        """Configure a network's training anew: its optimizer, with the settings' rates."""
        raise NotImplementedError

    def rate(self) -> Any:
        """Learning rate, a number or a schedule of the settings' length."""
        raise NotImplementedError

    def describe(self, model: Any, stream: Any) -> str:
        """Tell in words what is trained on what."""
        return f"network: {model.count_params():,} parameters"

    def columns(self, model: Any) -> list[str]:
        """Name the metrics that the log holds beside the loss."""
        raise NotImplementedError

    def validate(self, model: Any, validation: Any) -> dict[str, float]:
        """Measure the model, on fixed pairs; the lowest `loss` marks the best weights."""
        results: dict[str, float] = model.evaluate(validation, verbose=0, return_dict=True)
        return results

    def loss_of(self, row: dict[str, Any]) -> float:
        """The number of a row of the log whose lowest value marks the best weights."""
        return float(row.get("val_loss", row["loss"]))

    def validation_seconds(self, model: Any, validation: Any) -> float:
        """Measure how long `validate` takes, on a part of it."""
        steps, validation.steps = validation.steps, 1
        try:
            # The first time, it is compiled.
            self.validate(model, validation)
            begin = time.monotonic()
            self.validate(model, validation)
            return steps * (time.monotonic() - begin)
        finally:
            validation.steps = steps

    def extras(self, checkpoint: Checkpoint, validation: Any) -> list[Any]:
        """Make further callbacks."""
        return []


def _holds(folder: Path, path: Path) -> bool:
    """Whether a run's folder, or what the run wrote there, is or holds `path`."""
    own = [folder / name for name in (*FILES, *FOLDERS)]
    inside = [one.resolve() for one in own if one.exists()]
    place = path.resolve()
    return place == folder.resolve() or any(one in (place, *place.parents) for one in inside)


def policy_of(precision: Precision) -> str:
    """Name of the dtype policy of a precision."""
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16() else "float32"
    return "float32" if precision == "float32" else f"mixed_{precision}"


def _silence(text: str) -> None:
    """Tell no one."""


def _clock(moment: float) -> str:
    """Spell a moment: the time of today, with the date where it is another day."""
    then, now = datetime.fromtimestamp(moment), datetime.now()
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%Y-%m-%d %H:%M}"


@contextlib.contextmanager
def _nothing_left_if_refused(folder: Path, held: contextlib.ExitStack) -> Iterator[None]:
    """Make the folder, which proves that it can be written; remove it if what follows fails.

    Args:
        folder: The run's.
        held: Its lock, which is let go before.
    """
    new = not folder.exists()
    prepare_folder(folder)
    try:
        yield
    except BaseException:
        held.close()
        if new:
            with contextlib.suppress(OSError):  # it holds something by now
                folder.rmdir()
        raise
