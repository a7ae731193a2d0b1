"""Silence the frameworks' start-up chatter; show our warnings as one line each."""

import contextlib
import importlib.abc
import importlib.machinery
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from anyvox_keras.cli._live_line import complain

#: read by the frameworks when they load
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "MPLBACKEND": "Agg",
    # torch's idle threads would spin, which on a busy machine slows a step fifty times
    "OMP_WAIT_POLICY": "PASSIVE",
}
_LOGGERS = ("absl", "tensorflow", "jax", "jax._src.xla_bridge")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep stderr for what the user must know, while a command runs."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    # what it finds wrong with a header is raised or warned of by the reader, in one line
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL + 1)
    finder = _Muted()
    sys.meta_path.insert(0, finder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # ours are UserWarnings raised without a subclass
            warnings.filterwarnings("always", category=UserWarning, module=r"anyvox_keras(\.|$)")
            warnings.showwarning = _show
            yield
    finally:
        sys.meta_path.remove(finder)


class _Muted(importlib.abc.MetaPathFinder):
    """Load TensorFlow with the process's stderr closed.

    Its C++ code says things before any log level is read, on the file descriptor itself.
    """

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        """Find only TensorFlow, as Python would, with a loader that is silent."""
        if name != "tensorflow":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                with _closed_stderr():
                    load(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def _closed_stderr() -> Iterator[None]:
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _show(message: Any, *_: Any, **__: Any) -> None:
    complain("warning", message)
