"""Pairs on disk: one HDF5 file, or a folder of NIfTI files."""

import contextlib
import json
import os
import re
import shutil
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from anyvox_keras import io
from anyvox_keras.errors import UserError
from anyvox_keras.geometry.grid import Grid

SETTINGS = "settings.json"
_NAME = re.compile(r"\d{6,}_(view1|view2|seg)\.nii\.gz")


class PairStore(io.ResumableStore):
    """Numbered pairs of views and a label map, written one by one.

    Args:
        path: The file or folder to make.
        numbers: The pairs it will hold, or that this process adds.
        settings: What the pairs depend on. The same settings resume, others are an error.
        overwrite: Start again, whatever exists.

    Raises:
        UserError: If something else lies there, or it was made with other settings.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        numbers: Sequence[int],
        settings: dict[str, Any],
        overwrite: bool = False,
    ) -> None:
        super().__init__(path, settings)
        self.numbers = list(numbers)
        self.overwrite = overwrite
        self._check()

    @property
    def missing(self) -> list[int]:
        """Numbers of the pairs that remain to be written, in order."""
        done = set(self._done())
        return [number for number in self.numbers if number not in done]

    def write(self, number: int, views: np.ndarray, labels: np.ndarray) -> None:
        """Add a pair: views `(2, D, H, W)` in [0, 1], labels `(D, H, W)` integers below 256."""
        pair = encode(views, labels)
        self.begin()
        self._add(number, *pair)

    @abstractmethod
    def _check(self) -> None:
        """Refuse what is not ours; nothing is written yet."""

    @abstractmethod
    def _done(self) -> Iterable[int]:
        """Return the numbers of the pairs that are written."""

    @abstractmethod
    def _add(self, number: int, views: np.ndarray, labels: np.ndarray) -> None:
        """Write uint8 views `(2, D, H, W)` and labels `(D, H, W)`."""

    def _complete(self) -> None:
        if missing := self.missing:
            raise ValueError(f"all pairs must be written first. Received: {len(missing)} missing")

    def _require_settings(self, found: Any) -> None:
        """Refuse a finished output of other settings, or of another program."""
        if found != self.settings:
            raise UserError(f"{self.path}: the output exists already and is of other settings")


def pair_name(number: int) -> str:
    """Return the name of a pair: its number in six digits."""
    return f"{number:06d}"


def encode(views: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return views as uint8 truncated from 255 x, and labels as uint8.

    Raises:
        ValueError: If the shapes are not `(2, D, H, W)` and `(D, H, W)`, or labels exceed uint8.
    """
    views, labels = np.asarray(views), np.asarray(labels)
    if views.shape != (2, *labels.shape) or labels.ndim != 3:
        shapes = f"{views.shape} and {labels.shape}"
        raise ValueError(f"a pair must be (2, D, H, W) and (D, H, W). Received: {shapes}")
    if labels.min() < 0 or labels.max() > 255:
        raise ValueError(f"labels must lie in [0, 255]. Received: {labels.min()}..{labels.max()}")
    return (np.clip(views, 0, 1) * np.float32(255)).astype("uint8"), labels.astype("uint8")


def read_settings(folder: Path) -> Any:
    """Return the settings a folder was started with, or None."""
    try:
        return json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


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


class PairFolder(PairStore):
    """Writer of pairs as `000000_view1.nii.gz`, `000000_view2.nii.gz`, `000000_seg.nii.gz`.

    Voxels of 1 mm, uint8 as in `PairFile`. The label map is written last, so a pair with one is
    complete. Several processes may fill one folder, each with its own numbers.

    Args:
        path: The folder to fill.
        numbers: The pairs this writer will add.
        settings: What the pairs depend on. Kept in the folder: the same settings resume, others
            are an error.
        overwrite: Write these pairs again; pairs of other settings are removed.

    Raises:
        UserError: If the folder holds anything else, or cannot be written.

    Example:
        ```python
        >>> import tempfile
        >>> with PairFolder(tempfile.mkdtemp() + "/pairs", [0, 1], {"seed": 0}) as pairs:
        ...     pairs.write(0, np.ones((2, 4, 4, 4)), np.zeros((4, 4, 4), int))
        ...     pairs.missing
        [1]
        ```
    """

    patience = 60.0  # shards that begin together find one folder, begun once

    def _check(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: expected a folder to write, received a file")
        self._written: set[int] = set()
        self._resume = not self.overwrite
        if self._used() and not self.overwrite:
            self._require_settings(read_settings(self.path))

    def begin(self) -> None:
        """Prepare the folder, once; others may then write in it too."""
        io.prepare_folder(self.path)
        super().begin()
        self._held.close()

    def _prepare(self, held: contextlib.ExitStack) -> None:
        """Clear pairs of other settings, only when told to."""
        if self._used() and read_settings(self.path) != self.settings:
            self._check()
            for file in self.path.iterdir():
                if _NAME.fullmatch(file.name) or file.name == SETTINGS:
                    file.unlink()
        io.save_json(self.path / SETTINGS, self.settings, overwrite=True)

    def _add(self, number: int, views: np.ndarray, labels: np.ndarray) -> None:
        grid = Grid(labels.shape, np.eye(4))
        with self._writing(self.path):
            for kind, array in (("view1", views[0]), ("view2", views[1]), ("seg", labels)):
                io.save_volume(self._file(number, kind), array, grid, overwrite=True)
        self._written.add(number)

    def _done(self) -> Iterable[int]:
        """Pairs of this process, and, where the folder is resumed, those with a label map."""
        found = (n for n in self.numbers if self._resume and self._file(n, "seg").exists())
        return self._written.union(found)

    def _file(self, number: int, kind: str) -> Path:
        return self.path / f"{pair_name(number)}_{kind}.nii.gz"

    def _used(self) -> bool:
        return self.path.exists() and any(
            not path.name.startswith(".") for path in self.path.iterdir()
        )
