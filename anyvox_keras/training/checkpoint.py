"""Checkpoints that a killed training run goes on from as if nothing had happened."""

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from anyvox_keras.backend import agreed, peers, to_numpy
from anyvox_keras.errors import UserError, reading
from anyvox_keras.io import atomic, atomic_hdf5, require_room

Facts = dict[str, Any]
# what a resume cannot do without
_FACTS = {"step"}
STATE, LAST, BEST = "state", "last.weights.h5", "best.weights.h5"


def save_state(path: str | os.PathLike[str], model: keras.Model, facts: Facts) -> None:
    """Write weights, moving statistics, optimizer and metrics to HDF5, as plain arrays, atomically.

    Of several processes that train together, all call this and the first one writes.

    Args:
        path: The file; it is replaced whole or not at all.
        model: A compiled `ContrastivePretrainer`.
        facts: Numbers and strings to keep beside, such as the step.
    """
    # TensorFlow adds the metrics of all processes up as they are read.
    arrays = [(name, variable.path, to_numpy(variable)) for name, variable in _variables(model)]
    if peers()[0]:
        return
    with atomic_hdf5(path) as file:
        for name, of, array in arrays:
            file[name] = array
            file[name].attrs["path"] = of
        file.attrs.update(facts)


def read_facts(path: str | os.PathLike[str]) -> Facts:
    """Return what was kept beside the arrays."""
    with reading(path, "a training state"), _open(path) as file:
        facts = {
            name: value.item() if hasattr(value, "item") else value
            for name, value in file.attrs.items()
        }
    if lacking := sorted(_FACTS - set(facts)):
        raise UserError(f"{path}: not a training state; it lacks {', '.join(lacking)}")
    return facts


def load_state(path: str | os.PathLike[str], model: keras.Model) -> list[tuple[Any, Any]]:
    """Restore a model and its optimizer, whatever backend wrote the file.

    Returns:
        The metrics' variables with their saved values: `fit` resets metrics when it begins, so the
        caller assigns these at its first step.

    Raises:
        UserError: If the file is not readable, or of another model or optimizer.
    """
    metrics = []
    with reading(path, "a training state"), _open(path) as file:
        expected = dict(_variables(model))
        stored = {f"{group}/{key}" for group in file for key in file[group]}
        if stored != set(expected):
            raise UserError(f"{path}: the state of another model or optimizer")
        for name, variable in expected.items():
            if tuple(file[name].shape) != tuple(variable.shape):
                raise UserError(f"{path}: {variable.path} has shape {file[name].shape}")
            value = file[name][()]
            if name.startswith("metrics/"):
                metrics.append((variable, value))
            else:
                variable.assign(value)
    return metrics


def _variables(model: keras.Model) -> Iterator[tuple[str, Any]]:
    # Numbered: paths hold automatic layer names, which count up within a process.
    if not model.optimizer.built:  # a loss scale would be made anew
        model.optimizer.build(model.trainable_variables)
    groups = {
        "model": model.own_variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }
    for group, variables in groups.items():
        for index, variable in enumerate(variables):
            yield f"{group}/{index:05d}", variable


def _open(path: str | os.PathLike[str]) -> h5py.File:
    try:
        return h5py.File(Path(path), "r")
    except OSError as error:
        raise UserError(f"{path}: not a readable training state ({error})") from error


def sync_state(model: keras.Model) -> None:
    """Bring a model's variables up to date; on JAX `fit` keeps them to itself."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


class Checkpoint(keras.callbacks.Callback):
    """Save a pretraining every minute, and restore it bit for bit on a CPU.

    Writes `last.weights.h5` and what the model's `save_network` leaves for use (`backbone/`, a
    preset), then `state`, which alone is what `restore` reads: weights, optimizer, metrics, step,
    position in the stream. Each file takes its place whole, so a kill at any moment leaves a sound
    one. The arrays are backend-neutral: a run begun on TensorFlow goes on under PyTorch. With an
    optimizer that averages weights (`use_ema`), the files for use hold the averages.

    Put it behind callbacks that stop `fit`: the step at which they do is saved.

    Args:
        folder: Where the files go.
        stream: The stream that is trained on; `restore` moves it to where the run stood.
        seconds: Longest time between checkpoints; the first comes after ten steps at most.

    Example:
        ```python
        bank = avx.TemplateBank.geometric(20, side=16)
        stream = avx.SyntheticStream(bank, side=16, steps=1000)
        checkpoint = Checkpoint("run", stream)
        # checkpoint.restore(pretrainer)
        # stream.steps = 1000 - checkpoint.step
        # pretrainer.fit(stream, callbacks=[checkpoint])
        ```
    """

    def __init__(self, folder: str | os.PathLike[str], stream: Any, seconds: float = 60.0) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.stream = stream
        self.seconds = seconds
        self.step = 0
        self.best = math.inf
        self.waited = 0
        self.stopped = False
        self._saved_at: float | None = None
        self._saved_step: int | None = None
        self._begun = 0.0
        self._metrics: list[tuple[Any, Any]] = []

    def restore(self, model: keras.Model) -> bool:
        """Load `state` if there is one, and move the stream on; tell whether there was one."""
        path = self.folder / STATE
        if not path.exists():
            return False
        facts = read_facts(path)
        self._metrics = load_state(path, model)
        self.step, self.best = int(facts["step"]), float(facts["best"])
        self.waited, self.stopped = int(facts["waited"]), bool(facts["stopped"])
        self.stream.seek(int(facts["position"]))
        self._saved_at = time.monotonic()
        return True

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Give the metrics their saved sums back, which `fit` has just reset."""
        self._begun = time.monotonic()
        if self._metrics:
            sync_state(self.model)
            for variable, value in self._metrics:
                variable.assign(value)
            self._metrics = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count, and save when it is time or `fit` is told to stop."""
        self.step += 1
        if agreed(self.model.stop_training or self.due()):
            self.save()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save after the last epoch, before Keras puts averages in the weights' place."""
        if epoch + 1 == self.params["epochs"] and self._saved_step != self.step:
            self.save()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Save where the training ended in another way."""
        if self._saved_step != self.step:
            self.save()

    def done(self, steps: int) -> bool:
        """Whether a run of so many steps is at its end, or was stopped before."""
        return self.step >= steps or self.stopped

    def due(self) -> bool:
        """Whether the next step might end too late."""
        if self._saved_at is None:
            return self.step >= 10
        now = time.monotonic()
        return now + 2 * (now - self._begun) > self._saved_at + self.seconds

    def save(self) -> None:
        """Write all files now; of several processes that train together, the first one does."""
        self._saved_at, self._saved_step = time.monotonic(), self.step
        self._save_for_use(self._save_last)
        position = self.step * self.stream.batch_size
        facts = {"step": self.step, "position": position, "best": self.best}
        facts |= {"waited": self.waited, "stopped": self.stopped}
        facts["backend"] = keras.backend.backend()
        save_state(self.folder / STATE, self.model, facts)
        self._saved_at = time.monotonic()

    def judge(self, loss: float, patience: int | None = None) -> None:
        """Keep the weights as the best ones if a validation's loss is the lowest so far.

        Args:
            loss: Of the validation.
            patience: After so many in a row without a lower loss, the run is `stopped`.
        """
        if not loss < self.best:
            self.waited += 1
            self.stopped = patience is not None and self.waited >= patience
            return
        self.best, self.waited = loss, 0
        self._save_for_use(partial(self._save_weights, BEST))

    def _save_for_use(self, save: Callable[[], None]) -> None:
        """Let the first process save the weights, or their averages where there are any."""
        sync_state(self.model)
        index, processes = peers()
        with averaged(self.model):
            if processes == 1:
                save()
            elif index == 0:
                _by_itself(save)

    def _save_last(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._save_weights(LAST)
        self.model.save_network(self.folder, {"steps": self.step})

    def _save_weights(self, name: str) -> None:
        path = self.folder / name
        with atomic(path) as temporary:
            require_room(path, room_of(self.model))
            self.model.save_weights(temporary)


def _by_itself(save: Callable[[], None]) -> None:
    """Save where no device or process but this one is known: a thread of its own.

    Keras makes variables as it saves, which TensorFlow and JAX let all processes of a training do
    or none.
    """
    with ThreadPoolExecutor(1) as thread:
        thread.submit(save).result()


def room_of(model: keras.Model) -> int:
    """Bytes that a model's weights file takes at most."""
    return sum(4 * math.prod(weight.shape) + 4096 for weight in model.weights) + 2**16


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Let the trainable weights be their moving averages for a while, where there are any."""
    # float16 wraps the optimizer in one that scales the loss
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not getattr(optimizer, "use_ema", False) or not optimizer.built:
        yield
        return
    own = _copies(model.trainable_variables)
    optimizer.finalize_variable_values(model.trainable_variables)
    # JAX has now one buffer in two variables, and what donates the one deletes the other.
    _assign(model.trainable_variables, _copies(model.trainable_variables))
    try:
        yield
    finally:
        _assign(model.trainable_variables, own)


def _copies(variables: list[Any]) -> list[np.ndarray]:
    return [to_numpy(variable).copy() for variable in variables]


def _assign(variables: list[Any], values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
