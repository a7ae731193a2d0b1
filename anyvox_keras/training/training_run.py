"""A training in a folder: begun, watched, killed, resumed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from anyvox_keras.errors import UserError
from anyvox_keras.io import atomic, prepare_folder
from anyvox_keras.training.checkpoint import STATE, Checkpoint
from anyvox_keras.training.progress import Report, RunProgress
from anyvox_keras.training.settings import read_toml
from anyvox_keras.training.stop_on_non_finite import StopOnNonFinite
from anyvox_keras.training.training_state import read_facts

CONFIG = "config.toml"


class TrainingRun:
    """The base of runs: train by settings into a folder that a killed run goes on from.

    Files: `config.toml`, `log.csv`, `last.weights.h5`, `best.weights.h5`, `state`, `backbone/`.
    Subclasses write `streams`, `model` and `columns`.

    Args:
        folder: The run's folder.
        settings: Of `settings_class`: `steps`, `batch_size`, `log_every`, `validate_every`,
            `patience` and `precision` are read here.

    Raises:
        UserError: If the folder's run has other settings.
    """

    settings_class: Any

    def __init__(self, folder: str | os.PathLike[str], settings: Any) -> None:
        self.folder = Path(folder)
        self.settings = settings
        config = self.folder / CONFIG
        if config.exists() and self.read_settings(folder) != settings:
            raise UserError(f"{folder}: the run was begun with other settings, see {config}")

    @classmethod
    def read_settings(cls, folder: str | os.PathLike[str]) -> Any:
        """Read the settings that a folder's run was begun with."""
        config = Path(folder) / CONFIG
        return cls.settings_class.from_dict(read_toml(config), str(config))

    @property
    def step(self) -> int:
        """Steps done, as the last checkpoint knows."""
        state = self.folder / STATE
        return int(read_facts(state)["step"]) if state.exists() else 0

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        state = self.folder / STATE
        return state.exists() and (
            self.step >= self.settings.steps or bool(read_facts(state)["stopped"])
        )

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
        self.prepare()
        for stale in self.folder.glob(".????????-*"):
            stale.unlink()
        with atomic(self.folder / CONFIG) as temporary:
            temporary.write_text(self.settings.to_toml())
        stream, validation = self.streams()
        model = self.model()
        if introduce is not None:
            introduce(self.describe(model, stream))
        model.bind(stream)
        checkpoint = Checkpoint(self.folder, stream)
        checkpoint.restore(model)
        stream.steps = self.settings.steps - checkpoint.step

        def validate(model: Any) -> dict[str, float]:
            return {} if validation is None else self.validate(model, validation)

        progress = RunProgress(self, checkpoint, self.columns(model), validate, report)
        callbacks = [StopOnNonFinite(stream), *self.extras(checkpoint, validation), progress]
        model.fit(stream, callbacks=callbacks, verbose=verbose)
        return model

    @property
    def policy(self) -> str:
        """Name of the network's dtype policy."""
        precision = self.settings.precision
        return "float32" if precision == "float32" else f"mixed_{precision}"

    def prepare(self) -> None:
        """Find the mistakes that show before training, then make the folder.

        Raises:
            UserError: Data, weights or a folder that can't be used; nothing is written then.
        """
        prepare_folder(self.folder)

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
