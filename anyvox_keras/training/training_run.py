"""A training in a folder: begun, watched, killed, resumed."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from anyvox_keras.backend import has_bfloat16
from anyvox_keras.errors import UserError
from anyvox_keras.io import atomic, exclusive, prepare_folder
from anyvox_keras.training.checkpoint import BEST, LAST, STATE, Checkpoint, read_facts
from anyvox_keras.training.progress import LOG, Report, RunProgress, StopOnNonFinite
from anyvox_keras.training.settings import Settings

CONFIG = "config.toml"
#: everything that a run writes; nothing else in its folder is its own to remove
FILES = (STATE, LOG, LAST, BEST, CONFIG, "classes.json", "network.keras")
FOLDERS = ("backbone", "features", "pictures", "tensorboard")


class TrainingRun:
    """The base of runs: train by settings into a folder that a killed run goes on from.

    Files: `config.toml`, `log.csv`, `last.weights.h5`, `best.weights.h5`, `state`, `backbone/`.
    Subclasses write `streams`, `model` and `columns`.

    Args:
        folder: The run's folder.
        settings: Of `settings_class`.
        overwrite: Whether a run that exists is removed when this one begins.

    Raises:
        UserError: If the folder's run has other settings.
    """

    settings_class: type[Settings]

    def __init__(
        self, folder: str | os.PathLike[str], settings: Any, overwrite: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.settings = settings
        self._replaces = overwrite
        config = self.folder / CONFIG
        if config.exists() and not overwrite and self.read_settings(folder) != settings:
            raise UserError(f"{folder}: the run was begun with other settings, see {config}")

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
            introduce: Called with a description of the network and the pipeline, once they exist.

        Returns:
            The trained model; None if the run was finished before.
        """
        if self.finished:
            return None
        with contextlib.ExitStack() as held:
            with _nothing_left_if_refused(self.folder, held):
                self._keep_inputs()
                self.prepare()
                held.enter_context(exclusive(self.folder))
                stream, validation = self.streams()
                model = self.model()
                self.begin()
            if introduce is not None:
                introduce(self.describe(model, stream))
            self._fit(model, stream, validation, report, verbose)
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

    def _fit(
        self, model: Any, stream: Any, validation: Any, report: Report | None, verbose: int
    ) -> None:
        """Go on from the last checkpoint to the end."""
        model.bind(stream)
        checkpoint = Checkpoint(self.folder, stream)
        checkpoint.restore(model)
        stream.steps = self.settings.steps - checkpoint.step

        def validate(model: Any) -> dict[str, float]:
            return {} if validation is None else self.validate(model, validation)

        progress = RunProgress(self, checkpoint, self.columns(model), validate, report)
        callbacks = [StopOnNonFinite(stream), *self.extras(checkpoint, validation), progress]
        model.fit(stream, callbacks=callbacks, verbose=verbose)

    @property
    def pairs_per_step(self) -> int:
        """Samples that a step trains on."""
        return int(self.settings.batch_size)

    @property
    def policy(self) -> str:
        """Name of the network's dtype policy."""
        precision = self.settings.precision
        if precision == "auto":
            precision = "bfloat16" if has_bfloat16() else "float32"
        return "float32" if precision == "float32" else f"mixed_{precision}"

    def prepare(self) -> None:
        """Find the mistakes that show before training; nothing is written.

        Raises:
            UserError: If data or weights can't be used.
        """

    def begin(self) -> None:
        """Note the settings in the folder, which is then a run's; an overwritten one is removed."""
        if self._replaces:
            for name in FILES:
                (self.folder / name).unlink(missing_ok=True)
            for name in FOLDERS:
                shutil.rmtree(self.folder / name, ignore_errors=True)
            self._replaces = False
        for stale in self.folder.glob(".????????-*"):
            stale.unlink()
        with atomic(self.folder / CONFIG) as temporary:
            temporary.write_text(self.settings.to_toml(), encoding="utf-8")

    def streams(self) -> tuple[Any, Any]:
        """Make the endless training stream, and what `validate` reads (None for nothing)."""
        raise NotImplementedError

    def model(self) -> Any:
        """Make the network, compiled."""
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

    def extras(self, checkpoint: Checkpoint, validation: Any) -> list[Any]:
        """Make further callbacks."""
        return []


def _holds(folder: Path, path: Path) -> bool:
    """Whether a run's folder, or what the run wrote there, is or holds `path`."""
    own = [folder / name for name in (*FILES, *FOLDERS)]
    inside = [one.resolve() for one in own if one.exists()]
    place = path.resolve()
    return place == folder.resolve() or any(one in (place, *place.parents) for one in inside)


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
