"""Synthetic pairs in one HDF5 file."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from anyvox_keras import io
from anyvox_keras.synthesis.store.pairs import SETTINGS, PairStore, pair_name, read_settings


class PairFile(PairStore):
    """Writer of the interchange layout, which survives a crash at any moment and resumes.

    One group per pair, named by its number in six digits: `img` uint8 `(2, D, H, W)`, truncated
    from 255 x; `seg` uint8 `(D, H, W)`. HDF5 is not crash-safe, so finished pairs are kept in
    small files in `<path>.parts`, which `finish` merges into one that is renamed into place.

    Args:
        path: The `.hdf5` file to make.
        numbers: The pairs it will hold.
        settings: What the pairs depend on. Kept in the file: the same settings resume, others are
            an error.
        overwrite: Start again, whatever exists.
        part: Pairs per part, the most that a killed process loses.

    Raises:
        UserError: If the file, or a part of it, exists and was made with other settings, another
            process makes it, or the folder cannot be written.

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
        self.parts = Path(path).with_name(Path(path).name + ".parts")
        self._size = part
        self._buffer: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        super().__init__(path, numbers, settings, overwrite)

    def flush(self) -> None:
        """Put the pairs held in memory on disk."""
        if not self._buffer:
            return
        part = self.parts / f"{pair_name(min(self._buffer))}.hdf5"
        with self._writing(self.parts), io.atomic_hdf5(part) as file:
            for number, pair in sorted(self._buffer.items()):
                _write_group(file, number, *pair)
        self._buffer.clear()

    def _check(self) -> None:
        self.finished = self.path.exists() and not self.overwrite
        if self.finished:
            self._require_settings(_file_settings(self.path))
            return
        io.check_output(self.path, self.overwrite)
        if not self.overwrite:
            self._require_same(read_settings(self.parts), self.parts)

    def _prepare(self, held: contextlib.ExitStack) -> None:
        self._check()  # another process may have finished it by now
        if self.finished:
            return
        if self.parts.exists() and self.overwrite:
            shutil.rmtree(self.parts)
        io.prepare_folder(self.parts)
        io.save_json(self.parts / SETTINGS, self.settings, overwrite=True)
        self.overwrite = False

    def _add(self, number: int, views: np.ndarray, labels: np.ndarray) -> None:
        self._buffer[number] = views, labels
        if len(self._buffer) >= self._size:
            self.flush()

    def _done(self) -> Iterable[int]:
        if self.finished:
            return self.numbers
        return [*self._buffer] if self.overwrite else [*self._in_parts(), *self._buffer]

    def _complete(self) -> None:
        super()._complete()
        parts = self._in_parts()
        _require_space(self.path, set(parts.values()))
        with io.atomic(self.path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["settings"] = json.dumps(self.settings)
            for number, part in sorted(parts.items()):
                with h5py.File(part) as source:
                    source.copy(pair_name(number), file)
        shutil.rmtree(self.parts)

    def _in_parts(self) -> dict[int, Path]:
        """Return which part holds each finished pair."""
        done = {}
        for part in sorted(self.parts.glob("[0-9]*.hdf5")):
            try:
                with h5py.File(part) as file:
                    done.update(dict.fromkeys(map(int, file), part))
            except (OSError, ValueError):  # damaged: its pairs are made anew
                part.unlink()
        return done


def _require_space(path: Path, parts: Iterable[Path]) -> None:
    """Refuse to merge if the disk would become full."""
    needed = sum(part.stat().st_size for part in parts)
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise OSError(f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free")


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
