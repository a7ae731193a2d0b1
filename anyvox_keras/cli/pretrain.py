"""`anyvox pretrain`."""

import sys
from pathlib import Path
from typing import Any

import click

from anyvox_keras._errors import UserError
from anyvox_keras.cli._options import OVERWRITE, PRECISION

#: without these a run is as if it had not begun
_FILES = ("config.toml", "state", "log.csv")


@click.command()
@click.option("--out", required=True, type=Path, help="Folder of the run.")
@click.option("--templates", metavar="geometric|FOLDER", help="Where shapes come from.")
@click.option("--side", type=click.IntRange(16), help="Voxels along each axis.")
@click.option("--steps", type=click.IntRange(1), help="Length of the run.")
@click.option("--seed", type=int, help="Of shapes, data and initial weights.")
@click.option("--config", type=Path, help="TOML with these and all other settings.")
@click.option("--resume", is_flag=True, help="Go on with the run, or begin it.")
@PRECISION
@OVERWRITE
def pretrain(out: Path, config: Path | None, resume: bool, overwrite: bool, **flags: Any) -> None:
    """Pretrain a network on synthetic pairs, without end or data.

    Flags go before the config file, and both before the settings of a run that is resumed. The
    result is RUN/backbone; --weights RUN finds it.
    """
    from anyvox_keras.io import prepare_folder

    stored = out / "config.toml"
    if stored.exists() and not resume and not overwrite:
        raise UserError(f"{out}: holds a run already; pass --resume, or --overwrite to begin anew")
    given = {name: value for name, value in flags.items() if value is not None}
    if config is not None and not config.is_file():
        raise UserError(f"{config}: expected a TOML file, found none")
    prepare_folder(out)
    if overwrite:
        for name in _FILES:
            (out / name).unlink(missing_ok=True)
    _run(out, stored, config, given)


def _run(out: Path, stored: Path, config: Path | None, given: dict[str, Any]) -> None:
    from anyvox_keras.contrastive.pretraining_run import PretrainingRun
    from anyvox_keras.contrastive.run_settings import RunSettings, read_toml

    settings = read_toml(stored) if stored.exists() else {}
    if config is not None:
        settings |= read_toml(config)
    run = PretrainingRun(out, RunSettings.from_dict(settings | given, str(config or stored)))
    if run.finished:
        click.echo(f"{out}: finished at step {run.step}")
        return
    run.train(report=_show, verbose=int(sys.stderr.isatty()))
    click.echo(f"{out}: finished at step {run.step}; use it by --weights {out}")


def _show(row: dict[str, Any]) -> None:
    """Print a row of the log: what a person wants to see of it."""
    words = [f"step {row['step']}", f"loss {row['loss']:.4f}"]
    if row.get("val_loss") is not None:
        words.append(f"validation {row['val_loss']:.4f}")
    click.echo(", ".join([*words, f"{row['pairs_per_second']:.2f} pairs/s"]))
