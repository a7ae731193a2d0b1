"""Where results go: nothing is overwritten unasked or left half written, one process at a time."""

import contextlib
import errno
import io
import json
import math
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock
import h5py
import numpy as np
import platformdirs

from anyvox_keras.errors import UserError


def check_output(
    path: str | os.PathLike[str], overwrite: bool = False, inputs: Iterable[Any] = ()
) -> Path:
    """Make the folder of an output file, prove that it can be written, and return the path.

    Call it before a long computation, not after.

    Args:
        path: the output.
        overwrite: an existing file may be replaced.
        inputs: what is read, see `refuse_inputs`.

    Raises:
        UserError: the file exists and `overwrite` is false, its folder cannot be written, or it is
            an input of the same command.

    Example:
        ```python
        >>> import tempfile
        >>> check_output(tempfile.mkdtemp() + "/a/b.nii.gz").name
        'b.nii.gz'
        ```
    """
    path = Path(path)
    refuse_inputs([path], inputs)
    if path.is_dir():
        raise UserError(f"{path}: expected a file to write, received a folder")
    if path.exists() and not overwrite:
        raise UserError(f"{path}: the output exists already; pass --overwrite to replace it")
    prepare_folder(path.parent)
    return path


def refuse_inputs(outputs: Iterable[str | os.PathLike[str]], inputs: Iterable[Any]) -> None:
    """Refuse outputs that would replace what the same command reads, links followed.

    Args:
        outputs: files to write.
        inputs: paths to read; whatever is no path of a file is passed over.

    Raises:
        UserError: naming the file.
    """
    read = [Path(one) for one in inputs if isinstance(one, str | os.PathLike)]
    for output in map(Path, outputs):
        for source in read:
            if output.exists() and source.exists() and output.samefile(source):
                raise UserError(f"{output}: the output would replace an input of this command")


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
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is not None or error.errno not in _FULL:
            raise
        raise OSError(error.errno, f"cannot be written ({error.strerror})", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


# a full disk, a quota, a limit of file size
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def require_room(path: str | os.PathLike[str], size: int) -> None:
    """Prove that the disk of a file has room for `size` bytes, before HDF5 writes there.

    HDF5 does not survive a full disk: it ends the process.

    Raises:
        OSError: there is no room.
    """
    path = Path(path)
    trial = path.with_name(f".{secrets.token_hex(4)}-room")
    try:
        with open(trial, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, size))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return  # a file system that reserves nothing
        raise OSError(error.errno, f"cannot be written ({error.strerror})", str(path)) from error
    finally:
        trial.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Give an HDF5 file in memory, which is written by ordinary means and takes its place whole.

    Raises:
        OSError: the disk is full.
    """
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        yield file
    with atomic(path) as temporary:
        temporary.write_bytes(content.getbuffer())


@contextlib.contextmanager
def replaced_together(folder: Path, names: Sequence[str], last: str) -> Iterator[Path]:
    """Give an empty folder inside `folder` for new results; when all are there, they move up.

    Old results stay until then, and those that are not made anew go. The file `last` is taken
    away first and put in place last, so that its presence says that all others belong to it.

    Args:
        folder: holds the results, and whatever else.
        names: all files that may be results.
        last: one of them.
    """
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as made:
        staged = Path(made)
        yield staged
        (folder / last).unlink(missing_ok=True)
        for name in [*(name for name in names if name != last), last]:
            if (staged / name).exists():
                os.replace(staged / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)


def save_json(path: str | os.PathLike[str], content: Any, overwrite: bool = False) -> None:
    """Write a tree of dictionaries, lists and numbers, indented; the file appears whole.

    NumPy scalars and arrays become plain numbers and lists. NaN and infinity, which JSON lacks,
    become `null`.

    Raises:
        UserError: the file exists and `overwrite` is false, or its folder cannot be written.

    Example:
        ```python
        >>> import tempfile
        >>> save_json(tempfile.mkdtemp() + "/metrics.json", {"dice": {1: np.float32(0.5)}})
        ```
    """
    text = json.dumps(_plain(content), indent=2, allow_nan=False)
    with atomic(check_output(path, overwrite)) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def save_page(path: str | os.PathLike[str], html: str) -> None:
    """Write a page; the file appears whole, an old one goes.

    Args:
        path: The file.
        html: Its text.
    """
    with atomic(check_output(path, overwrite=True)) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


REGISTRATION_FILES = (
    "moved.nii.gz", "moved_seg.nii.gz", "warp.nii.gz", "inverse_warp.nii.gz", "affine.tfm",
    "report.png", "report.html", "metrics.json",
)  # fmt: skip


def refuse_old_results(folder: str | os.PathLike[str], overwrite: bool) -> None:
    """Refuse a folder that holds a registration's results already, unless `overwrite`.

    Raises:
        UserError: naming the first file found.
    """
    found = [Path(folder) / name for name in REGISTRATION_FILES if (Path(folder) / name).exists()]
    if found and not overwrite:
        raise UserError(f"{found[0]}: the output exists already; pass --overwrite to replace it")


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


def cache_folder() -> Path:
    """Return `$ANYVOX_CACHE`, or the system's place for caches: on Linux `~/.cache/anyvox_keras`.

    The folder need not exist.
    """
    chosen = os.environ.get("ANYVOX_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("anyvox_keras", appauthor=False)
