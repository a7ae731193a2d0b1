"""Training on several devices: `--devices`, and the processes that PyTorch trains in."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from anyvox_keras.cli._live_line import complain


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
    if wanted == 1 and "RANK" not in os.environ:
        return 1  # known without a framework
    from anyvox_keras.backend import device_count, process_shard

    processes = process_shard()[1]
    if processes > 1:
        return processes
    return device_count() if wanted is None else wanted


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
