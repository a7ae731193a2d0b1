"""`anyvox pretrain`, on one device or several."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from anyvox_keras.cli._live_line import complain
from anyvox_keras.cli._run_options import given_settings, is_paper, run_options, settle, train_run
from anyvox_keras.contrastive.run_settings import RunSettings
from anyvox_keras.errors import UserError

SHOWN = ("loss", "alignment", "val_loss", "val_alignment", "pairs_per_second")


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


@click.command()
@run_options(RunSettings)
@DEVICES
def pretrain(
    out: Path,
    config: Path | None,
    resume: bool,
    overwrite: bool,
    devices: int | None,
    **flags: Any,
) -> int:
    """Pretrain a network on synthetic pairs, by the contrastive recipe.

    The network is a UNet, a ViT, or any Keras model: --weights net.keras goes on with one,
    --backbone module:function builds one. OUT/backbone is then a preset for --weights. A run
    killed at any moment goes on with --resume, on another backend and with another number of
    devices too.
    """
    began = time.time()
    given = given_settings(RunSettings, config, flags)
    settings = settle(RunSettings, out, given, resume, overwrite)
    count = 1 if devices == 1 and "RANK" not in os.environ else devices_of(devices)
    if count > 1 and settings.batch_size % count:
        raise UserError(
            f"batch_size: expected a multiple of the {count} devices, "
            f"received {settings.batch_size}"
        )
    if count > 1 and needs_processes(count):
        return run_in_processes(count)
    from anyvox_keras.contrastive.pretraining_run import PretrainingRun

    with one_voice():
        run = PretrainingRun(out, settings, overwrite and not resume, count)
        if run.finished:
            click.echo(f"{out}: finished at step {run.step}")
            return 0
        _introduce(run)
        train_run(run, SHOWN, began, is_paper(config))
        click.echo(f"{out}: step {run.step}; use it with --weights {out}")
    return 0


def _introduce(run: Any) -> None:
    s = run.settings
    sizes = f"{s.side}^3 voxels, {s.batch_size} a step"
    click.echo(f"pairs: seed {s.seed}, shapes {', '.join(s.templates)}, {sizes}")
    click.echo(f"training: {s.recipe} recipe, rate {s.learning_rate:g} {s.schedule}, {s.precision}")
    steps = s.steps if run.planned else "as many as fit"
    click.echo(f"steps: {run.step} of {steps} done; settings in {run.folder / 'config.toml'}")


def devices_of(wanted: int | None) -> int:
    """Return how many devices train: of `torchrun` as many as it started processes."""
    from anyvox_keras.backend import device_count, process_shard

    processes = process_shard()[1]
    if processes > 1:
        return processes
    return device_count() if wanted is None else wanted


def needs_processes(devices: int) -> bool:
    """Whether each device is a process of its own that nobody has started yet."""
    from anyvox_keras.backend import NAME, process_shard

    return NAME == "torch" and devices > 1 and process_shard()[1] == 1


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
