"""One process at a time makes an output."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import filelock

from anyvox_keras.errors import UserError


@contextlib.contextmanager
def exclusive(path: str | os.PathLike[str], wait: float = 0) -> Iterator[None]:
    """Let one process at a time write in a folder, or make a file.

    A file `.lock` in the folder, or `.NAME.lock` beside the file, bears the lock, on every system
    and on shared disks.

    Args:
        path: A folder that exists, or a file that need not.
        wait: Seconds to wait for another process to end.

    Raises:
        UserError: If another process writes there.

    Example:
        ```python
        from anyvox_keras.io import exclusive

        with exclusive("shapes.bank"):
            pass
        ```
    """
    path = Path(path)
    lock = path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    try:
        held = filelock.FileLock(lock, timeout=wait).acquire()
    except filelock.Timeout as error:
        raise UserError(f"{path}: another process is writing there") from error
    with held:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows removes no open file
                lock.unlink()  # while it is still held
