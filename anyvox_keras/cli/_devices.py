"""Training on several devices: `--devices`, and the processes that PyTorch trains in."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from anyvox_keras.cli._live_line import complain
from anyvox_keras.errors import UserError
from anyvox_keras.shards import LAUNCHED, TOLD


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
    """Return how many devices train: all of a cluster's, where the environment names one.

    Raises:
        UserError: If it names one of another backend, of which each process would train alone.
    """
    named = {name: told()[1] for name, told in TOLD.items() if told()[1] > 1}
    if wanted == 1 and not named:
        return 1  # known without a framework
    from anyvox_keras.backend import NAME, device_count

    if named and NAME not in named:
        other, processes = next(iter(named.items()))
        raise UserError(
            f"KERAS_BACKEND: expected {other}, of which the environment names {processes} "
            f"processes, received {NAME}"
        )
    return device_count() if named or wanted is None else wanted


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
    """Let only the first of several processes speak of what all of them meet.

    That one of them was lost, each of the others says.
    """
    first = not any(told()[0] for told in TOLD.values())
    with contextlib.ExitStack() as silent:
        if not first:
            nothing = silent.enter_context(open(os.devnull, "w"))
            silent.enter_context(contextlib.redirect_stdout(nothing))
            silent.enter_context(contextlib.redirect_stderr(nothing))
        try:
            yield
        except ConnectionError as error:
            silent.close()
            # who started the processes says itself which of them was lost
            if LAUNCHED not in os.environ:
                complain("error", error)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)  # JAX would wait for the lost process before it ends
        except (ValueError, OSError):
            if first:
                raise
            sys.exit(2)
