"""Synthetic pairs in one HDF5 file."""

import contextlib
import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.io.output import atomic, check_output, prepare_folder
from anyvox_keras.synthesis.store.pairs import (
    encode,
    pair_name,
    read_settings,
    unwritable,
    write_settings,
)


class PairFile:
    """Writer of the interchange layout, which survives a crash at any moment and resumes.

    One group per pair, named by its number in six digits: `img` uint8 `(2, D, H, W)`, truncated
    from 255 x; `seg` uint8 `(D, H, W)`. HDF5 is not crash-safe, so finished pairs are kept in
    small files in `<path>.parts`, which `finish` merges into one that is renamed into place.

    Args:
        path: the `.hdf5` file to make.
        numbers: the pairs it will hold.
        settings: what the pairs depend on. Kept in the file: the same settings resume, others are
            an error.
        overwrite: start again, whatever exists.
        part: pairs per part, the most that a killed process loses.

    Raises:
        UserError: the file, or a part of it, exists and was made with other settings; the folder
            cannot be written.

    Example:
        ```python
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/pairs.hdf5"
        >>> with PairFile(path, [7], {"seed": 0}) as pairs:
        ...     pairs.write(7, np.ones((2, 4, 4, 4)), np.zeros((4, 4, 4), int))
        ...     pairs.finish()
        >>> PairFile(path, [7], {"seed": 0}).missing
        []
        ```
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        numbers: Sequence[int],
        settings: dict[str, Any],
        overwrite: bool = False,
        part: int = 16,
    ) -> None:
        """Find out what is done already; only the folder of parts is written."""
        self.path = Path(path)
        self.parts = self.path.with_name(self.path.name + ".parts")
        self.numbers = list(numbers)
        self.settings = json.loads(json.dumps(settings))
        self._size = part
        self._buffer: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._finished = self._resume(overwrite)

    @property
    def missing(self) -> list[int]:
        """Numbers of the pairs that remain to be written, in order."""
        done = set(self.numbers) if self._finished else {*self._done(), *self._buffer}
        return [number for number in self.numbers if number not in done]

    def write(self, number: int, views: np.ndarray, labels: np.ndarray) -> None:
        """Add a pair: views `(2, D, H, W)` in [0, 1], labels `(D, H, W)` integers below 256."""
        self._buffer[number] = encode(views, labels)
        if len(self._buffer) >= self._size:
            self.flush()

    def flush(self) -> None:
        """Put the pairs held in memory on disk."""
        if not self._buffer:
            return
        part = self.parts / f"{pair_name(min(self._buffer))}.hdf5"
        # Made in memory: on a full disk the HDF5 library would crash the process.
        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            for number, pair in sorted(self._buffer.items()):
                _write_group(file, number, *pair)
        try:
            with atomic(part) as temporary:
                temporary.write_bytes(content.getbuffer())
        except (OSError, UserError) as error:
            raise unwritable(self.parts, error) from error
        self._buffer.clear()

    def finish(self) -> None:
        """Merge the parts into the file; all pairs must have been written."""
        if self._finished:
            return
        self.flush()
        if self.missing:
            raise ValueError(
                f"all pairs must be written first. Received: {len(self.missing)} missing"
            )
        self._require_space()
        with atomic(self.path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["settings"] = json.dumps(self.settings)
            for number, part in sorted(self._done().items()):
                with h5py.File(part) as source:
                    source.copy(pair_name(number), file)
        shutil.rmtree(self.parts)
        self._finished = True

    def __enter__(self) -> Self:
        """Enter a `with` block, so that an interrupted run keeps what it has."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the pairs held in memory; an earlier error is the one to show."""
        with contextlib.nullcontext() if error is None else contextlib.suppress(UserError):
            self.flush()

    def _require_space(self) -> None:
        """Refuse to merge if the disk would become full."""
        needed = sum(part.stat().st_size for part in {*self._done().values()})
        free = shutil.disk_usage(self.path.parent).free
        if free < needed:
            reason = f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free"
            raise unwritable(self.path, OSError(reason))

    def _resume(self, overwrite: bool) -> bool:
        """Return whether the file is complete; refuse a file that was not written by this class."""
        if self.path.exists() and not overwrite:
            if _file_settings(self.path) != self.settings:
                raise UserError(f"{self.path}: the output exists already and is of other settings")
            return True
        check_output(self.path, overwrite)
        if self.parts.exists() and overwrite:
            shutil.rmtree(self.parts)
        found = read_settings(self.parts)
        if found is not None and found != self.settings:
            raise UserError(f"{self.parts}: begun with other settings; pass --overwrite to drop it")
        prepare_folder(self.parts)
        write_settings(self.parts, self.settings)
        return False

    def _done(self) -> dict[int, Path]:
        """Return which part holds each finished pair."""
        done = {}
        for part in sorted(self.parts.glob("[0-9]*.hdf5")):
            try:
                with h5py.File(part) as file:
                    done.update(dict.fromkeys(map(int, file), part))
            except (OSError, ValueError):  # damaged: its pairs are made anew
                part.unlink()
        return done


def _file_settings(path: Path) -> Any:
    try:
        with h5py.File(path) as file:
            return json.loads(file.attrs["settings"])
    except (OSError, KeyError, ValueError):
        return None


def _write_group(file: h5py.File, number: int, views: np.ndarray, labels: np.ndarray) -> None:
    group = file.create_group(pair_name(number))
    group.create_dataset("img", data=views)
    # label maps are piecewise constant: gzip's first level shrinks them about twentyfold
    group.create_dataset("seg", data=labels, compression="gzip", compression_opts=1)
