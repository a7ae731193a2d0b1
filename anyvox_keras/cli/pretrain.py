"""`anyvox pretrain`, on one device or several."""

import time
from pathlib import Path
from typing import Any

import click

from anyvox_keras.cli._devices import (
    DEVICES,
    devices_of,
    needs_processes,
    one_voice,
    run_in_processes,
)
from anyvox_keras.cli._run_options import given_settings, is_paper, run_options, settle, train_run
from anyvox_keras.contrastive.run_settings import RunSettings

SHOWN = ("loss", "alignment", "val_loss", "val_alignment", "pairs_per_second")


@click.command()
@run_options(RunSettings)
@DEVICES
@one_voice()
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
    count = devices_of(devices)
    from anyvox_keras.contrastive.pretraining_run import PretrainingRun

    run = PretrainingRun(out, settings, overwrite and not resume, count)
    if needs_processes(count):
        return run_in_processes(count)
    if not run.finished:
        _introduce(run)
    train_run(run, SHOWN, began, is_paper(config), f"--weights {out}")
    return 0


def _introduce(run: Any) -> None:
    s = run.settings
    sizes = f"{s.side}^3 voxels, {s.batch_size} a step"
    click.echo(f"pairs: seed {s.seed}, shapes {', '.join(s.templates)}, {sizes}")
    click.echo(f"training: {s.recipe} recipe, rate {s.learning_rate:g} {s.schedule}, {s.precision}")
    steps = s.steps if run.planned else "as many as fit"
    click.echo(f"steps: {run.step} of {steps} done; settings in {run.folder / 'config.toml'}")
