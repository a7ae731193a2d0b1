"""Training on several devices: `--devices`, and the processes that PyTorch trains in."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from anyvox_keras.cli._live_line import complain
from anyvox_keras.errors import UserError


class Devices(click.ParamType):
    """A number of devices, or all."""

    name = "N|all"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | None:
        """Parse; None stands for all."""
        if value == "all" or value is None:
            return None
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"expected a number of devices or all, received {value}", param, ctx)
        return int(value)


DEVICES = click.option(
    "--devices",
    type=Devices(),
    default="1",
    help="Train on so many devices, each with its part of a step's batch. [default: 1]",
)


def devices_of(wanted: int | None) -> int:
    """Return how many devices train: of `torchrun` as many as it started processes."""
    if wanted == 1 and not {"RANK", *CLUSTERS} & set(os.environ):
        return 1  # known without a framework
    from anyvox_keras.backend import NAME, device_count, process_shard

    if NAME != "torch":
        _require_one_process()
    processes = process_shard()[1]
    if processes > 1:
        return processes
    return device_count() if wanted is None else wanted


def _require_one_process() -> None:
    """Refuse a cluster that would train the same run once in every process.

    Raises:
        UserError: If the environment names one.
    """
    for name, processes in CLUSTERS.items():
        count = processes(os.environ[name]) if name in os.environ else 1
        if count > 1:
            raise UserError(
                f"{name}: expected one process, received {count}; on several machines training "
                "needs torchrun and KERAS_BACKEND=torch"
            )


def _workers(told: str) -> int:
    """Number of processes that TensorFlow's description of a cluster names."""
    cluster = json.loads(told).get("cluster", {})
    return sum(len(cluster.get(kind, [])) for kind in ("chief", "worker"))


#: environment variables that name a cluster of TensorFlow or JAX -> how many processes it has
CLUSTERS: dict[str, Callable[[str], int]] = {
    "TF_CONFIG": _workers,
    "KERAS_DISTRIBUTION_NUM_PROCESSES": int,
}


def needs_processes(devices: int) -> bool:
    """Whether each device is a process of its own that nobody has started yet."""
    if devices == 1:
        return False
    from anyvox_keras.backend import NAME, process_shard

    return NAME == "torch" and process_shard()[1] == 1


def run_in_processes(devices: int) -> int:
    """Run this command once for each device; return the exit code."""
    from anyvox_keras.backend import run_processes

    arguments = click.get_current_context().find_root().obj["arguments"]
    try:
        return run_processes(["-m", "anyvox_keras.cli", *arguments], devices)
    except ConnectionError as error:
        complain("error", error)
        return 1


@contextlib.contextmanager
def one_voice() -> Iterator[None]:
    """Let only the first of several processes speak of what all of them meet."""
    if os.environ.get("RANK", "0") == "0":
        yield
        return
    with (
        open(os.devnull, "w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
    ):
        try:
            yield
        except (ValueError, OSError):
            sys.exit(2)
