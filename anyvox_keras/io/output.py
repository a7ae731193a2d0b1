"""Where results go: nothing is overwritten unasked, nothing is left half written."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from anyvox_keras._errors import UserError


def check_output(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Make the folder of an output file, prove that it can be written, and return the path.

    Call it before a long computation, not after.

    Raises:
        UserError: the file exists and `overwrite` is false, or its folder cannot be written.

    Example:
        ```python
        >>> import tempfile
        >>> check_output(tempfile.mkdtemp() + "/a/b.nii.gz").name
        'b.nii.gz'
        ```
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: expected a file to write, received a folder")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: the output exists already; pass --overwrite to replace it")
    prepare_folder(path.parent)
    return path


def prepare_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder and prove by a trial file that it can be written.

    Raises:
        UserError: it cannot be made or written.
    """
    folder = Path(folder)
    trial = folder / f".trial-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{folder}: the output folder cannot be written ({reason})") from error
    return folder


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is synced and takes its place.

    The temporary name ends as `path` does, since writers choose the format by it.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
