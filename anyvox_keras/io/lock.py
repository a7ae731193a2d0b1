"""One process at a time makes an output."""

import contextlib
import os
from pathlib import Path

import filelock

from anyvox_keras.errors import UserError


class OutputLock:
    """The right to make an output, held until `release` or the end of the process.

    A file `.NAME.lock` beside the output bears the lock, on every system and on shared disks; it is
    removed with it.

    Args:
        path: The output; it need not exist, its folder must.

    Raises:
        UserError: If another process holds the lock.

    Example:
        ```python


        lock = OutputLock("shapes.bank")
        lock.release()
        ```
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = Path(path)
        self._lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise UserError(f"{path}: another process is making this file") from error

    def release(self) -> None:
        """Give the right back."""
        self._lock.release()
        with contextlib.suppress(OSError):  # another process has it by now
            os.unlink(self._lock.lock_file)
