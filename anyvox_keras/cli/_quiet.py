"""Silence the frameworks' start-up chatter; show our warnings as one line each."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import click

#: read by TensorFlow's and gRPC's C++ code when they load
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR", "MPLBACKEND": "Agg"}
_LOGGERS = ("absl", "tensorflow", "jax", "jax._src.xla_bridge")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep stderr for what the user must know, while a command runs."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # ours are UserWarnings raised without a subclass
        warnings.filterwarnings("always", category=UserWarning, module=r"anyvox_keras(\.|$)")
        warnings.showwarning = _show
        yield


def _show(message: Any, *_: Any, **__: Any) -> None:
    click.echo(f"anyvox: warning: {' '.join(str(message).split())}", err=True)
