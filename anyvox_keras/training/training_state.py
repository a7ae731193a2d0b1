"""All that a training goes on from, in one file that any backend reads."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError, reading
from anyvox_keras.io import atomic_hdf5

Facts = dict[str, Any]
# what a resume cannot do without
_FACTS = {"step"}


def save_state(path: str | os.PathLike[str], model: keras.Model, facts: Facts) -> None:
    """Write weights, moving statistics, optimizer and metrics to HDF5, as plain arrays, atomically.

    Args:
        path: The file; it is replaced whole or not at all.
        model: A compiled `ContrastivePretrainer`.
        facts: Numbers and strings to keep beside, such as the step.
    """
    with atomic_hdf5(path) as file:
        for name, variable in _variables(model):
            file[name] = to_numpy(variable)
            file[name].attrs["path"] = variable.path
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
            value = file[name][()]
            if tuple(value.shape) != tuple(variable.shape):
                raise UserError(f"{path}: {variable.path} has shape {value.shape}")
            if name.startswith("metrics/"):
                metrics.append((variable, value))
            else:
                variable.assign(value)
    return metrics


def _variables(model: keras.Model) -> Iterator[tuple[str, Any]]:
    # Numbered: paths hold automatic layer names, which count up within a process.
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
