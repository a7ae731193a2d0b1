"""One pair, from options to a folder of results."""

from pathlib import Path
from typing import Any

from anyvox_keras._errors import UserError

#: options that name a file
PATHS = (
    "fixed", "moving", "fixed_mask", "moving_mask", "fixed_seg", "moving_seg", "fixed_points",
    "moving_points", "initial",
)  # fmt: skip


def check_pair(options: dict[str, Any], out: Path, overwrite: bool) -> None:
    """Find mistakes that need no computing: the folder, old results, absent files.

    Raises:
        UserError: naming the first mistake.
    """
    from anyvox_keras.io import prepare_folder, refuse_old_results

    for name in PATHS:
        path = options.get(name)
        if path is not None and not Path(path).exists():
            raise UserError(f"{path}: expected the file of --{name.replace('_', '-')}, found none")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: expected a folder to write, received a file")
    refuse_old_results(out, overwrite)
    prepare_folder(out)


def register_pair(options: dict[str, Any], out: Path, overwrite: bool) -> str:
    """Register, save, and return one line of results."""
    from anyvox_keras.registration import register

    given = {name: value for name, value in options.items() if value not in (None, False)}
    result = register(**given)
    result.save(out, overwrite=overwrite)
    return f"{out}: {result.summary}"
