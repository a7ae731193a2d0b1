"""Synthetic pairs as NIfTI files."""

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from anyvox_keras import io
from anyvox_keras.errors import UserError
from anyvox_keras.geometry.grid import Grid
from anyvox_keras.synthesis.store.pairs import SETTINGS, PairStore, pair_name, read_settings

_NAME = re.compile(r"\d{6,}_(view1|view2|seg)\.nii\.gz")


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
