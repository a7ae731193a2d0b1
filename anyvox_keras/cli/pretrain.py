"""`anyvox pretrain`."""

import dataclasses
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from anyvox_keras._errors import UserError
from anyvox_keras.contrastive.run_settings import RunSettings
from anyvox_keras.contrastive.toml_settings import read_toml


def _setting_options(command: Any) -> Any:
    """Add a flag for each field of `RunSettings`, whose documentation is its help."""
    about = dict(re.findall(r"^ {8}(\w+): (.+(?:\n {12}.+)*)", RunSettings.__doc__ or "", re.M))
    for field in reversed(dataclasses.fields(RunSettings)):
        name = field.name.replace("_", "-")
        flag = f"--{name}/--no-{name}" if isinstance(field.default, bool) else f"--{name}"
        text = f"{about[field.name].replace('`', '')} [{field.default}]"
        kind = None if isinstance(field.default, bool) else type(field.default)
        command = click.option(flag, field.name, default=None, type=kind, help=text)(command)
    return command


@click.command()
@click.option("--out", required=True, type=Path, help="Folder of the run.")
@click.option("--config", type=Path, help="TOML file of settings; flags win over it.")
@click.option("--resume", is_flag=True, help="Go on with the folder's run, or begin it.")
@click.option("--overwrite", is_flag=True, help="Begin anew where a run exists.")
@_setting_options
def pretrain(out: Path, config: Path | None, resume: bool, overwrite: bool, **flags: Any) -> None:
    """Pretrain a UNet on synthetic pairs, by the contrastive recipe.

    OUT/backbone is then a preset for --weights. A run killed at any moment goes on with --resume,
    on another backend too.
    """
    given = read_toml(config) if config is not None else {}
    given |= {name: value for name, value in flags.items() if value is not None}
    settings = _settings(out, given, resume, overwrite)
    from anyvox_keras.contrastive.pretraining_run import PretrainingRun
    from anyvox_keras.io import prepare_folder

    prepare_folder(out)
    run = PretrainingRun(out, settings)
    if run.finished:
        click.echo(f"{out}: finished at step {run.step}")
        return
    _introduce(run)
    on_terminal = sys.stderr.isatty()
    try:
        run.train(None if on_terminal else _print_row, verbose=int(on_terminal))
    except FloatingPointError as error:
        click.echo(f"anyvox: error: {error}", err=True)
        sys.exit(1)
    click.echo(f"{out}: step {run.step}; use it with --weights {out}")


def _settings(out: Path, given: dict[str, Any], resume: bool, overwrite: bool) -> RunSettings:
    """Settle what to run: a stored run's settings, or those given."""
    stored = out / "config.toml"
    if stored.exists() and overwrite and not resume:
        _remove(out)
    if not stored.exists():
        return RunSettings.from_dict(given)
    if not resume:
        raise UserError(f"{out}: the run exists already; pass --resume, or --overwrite")
    settings = RunSettings.from_dict(read_toml(stored), str(stored))
    # Through the same checks, so that 1 and 1.0 are the same number.
    wanted = RunSettings.from_dict({**dataclasses.asdict(settings), **given})
    for name in given:
        before, now = getattr(settings, name), getattr(wanted, name)
        if before != now:
            raise UserError(f"{out}: {name}: the run was begun with {before}, received {now}")
    return settings


def _remove(out: Path) -> None:
    """Remove a run's own files, nothing else that lies there."""
    for name in ("state", "log.csv", "last.weights.h5", "best.weights.h5", "config.toml"):
        (out / name).unlink(missing_ok=True)
    for name in ("backbone", "pictures", "tensorboard"):
        shutil.rmtree(out / name, ignore_errors=True)


def _introduce(run: Any) -> None:
    s = run.settings
    sizes = f"{s.side}^3 voxels, {s.batch_size} a step"
    click.echo(f"pairs: seed {s.seed}, {s.templates} shapes, {sizes}")
    click.echo(f"training: {s.recipe} recipe, rate {s.learning_rate:g} {s.schedule}, {s.precision}")
    click.echo(f"steps: {run.step} of {s.steps} done; settings in {run.folder / 'config.toml'}")


def _print_row(row: dict[str, Any]) -> None:
    shown = ("loss", "alignment", "val_loss", "val_alignment", "pairs_per_second")
    numbers = "  ".join(f"{name} {float(row[name]):.4g}" for name in shown if name in row)
    click.echo(f"step {row['step']}: {numbers}")
