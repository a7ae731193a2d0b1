"""One pair, from options to a folder of results."""

from pathlib import Path
from typing import Any

from anyvox_keras._errors import UserError

#: what a registration writes
OUTPUTS = (
    "moved.nii.gz",
    "moved_seg.nii.gz",
    "warp.nii.gz",
    "inverse_warp.nii.gz",
    "affine.tfm",
    "report.png",
    "metrics.json",
)


def check_pair(options: dict[str, Any], out: Path, overwrite: bool) -> None:
    """Find mistakes that need no computing: the folder, old results, absent files.

    Raises:
        UserError: naming the first mistake.
    """
    from anyvox_keras.io import prepare_folder

    for name in ("fixed", "moving", "fixed_mask", "moving_mask", "fixed_seg", "moving_seg",
                 "initial"):  # fmt: skip
        path = options.get(name)
        if path is not None and not Path(path).exists():
            raise UserError(f"{path}: expected the file of --{name.replace('_', '-')}, found none")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: expected a folder to write, received a file")
    found = [name for name in OUTPUTS if (out / name).exists()]
    if found and not overwrite:
        raise UserError(f"{out / found[0]}: the output exists already; pass --overwrite")
    prepare_folder(out)


def register_pair(options: dict[str, Any], out: Path, overwrite: bool) -> str:
    """Register, save, and return one line of results."""
    import inspect

    from anyvox_keras.registration import register

    given = {name: value for name, value in options.items() if value not in (None, False)}
    unknown = sorted(set(given) - set(inspect.signature(register).parameters))
    if unknown:
        raise UserError(f"--{unknown[0].replace('_', '-')} is not available in this version")
    result = register(**given)
    result.save(out, overwrite=overwrite)
    return f"{out}: {summary(result.metrics)}"


def summary(metrics: dict[str, Any]) -> str:
    """Return the results in one line: Dice where labels were given, folds, seconds."""
    parts = []
    dice = metrics.get("mean_dice") or {}
    if dice.get("after") is not None:
        parts.append(f"mean Dice {dice['before']:.4f} -> {dice['after']:.4f}")
    parts.append(f"folds {metrics['folds_percent']:.3f} %")
    if metrics.get("seconds") is not None:
        seconds = metrics["seconds"]
        total = sum(seconds.values()) if isinstance(seconds, dict) else seconds
        parts.append(f"{total:.1f} s")
    return ", ".join(parts)
