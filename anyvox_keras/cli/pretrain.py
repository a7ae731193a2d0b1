"""`anyvox pretrain`."""

import sys
from pathlib import Path
from typing import Any

import click

from anyvox_keras.cli._run_options import given_settings, setting_options, settle
from anyvox_keras.contrastive.run_settings import RunSettings


@click.command()
@click.option("--out", required=True, type=Path, help="Folder of the run.")
@click.option("--config", type=Path, help="TOML file of settings; flags win over it.")
@click.option("--resume", is_flag=True, help="Go on with the folder's run, or begin it.")
@click.option("--overwrite", is_flag=True, help="Begin anew where a run exists.")
@setting_options(RunSettings)
def pretrain(out: Path, config: Path | None, resume: bool, overwrite: bool, **flags: Any) -> None:
    """Pretrain a UNet on synthetic pairs, by the contrastive recipe.

    OUT/backbone is then a preset for --weights. A run killed at any moment goes on with --resume,
    on another backend too.
    """
    settings = settle(RunSettings, out, given_settings(config, flags), resume, overwrite)
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
        run.train(None if on_terminal else _print_row, int(on_terminal), click.echo)
    except FloatingPointError as error:
        click.echo(f"anyvox: error: {error}", err=True)
        sys.exit(1)
    click.echo(f"{out}: step {run.step}; use it with --weights {out}")


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
