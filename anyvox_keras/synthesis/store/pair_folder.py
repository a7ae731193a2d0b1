"""Synthetic pairs as NIfTI files."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry.grid import Grid
from anyvox_keras.io.lock import exclusive
from anyvox_keras.io.output import prepare_folder
from anyvox_keras.io.save_volume import save_volume
from anyvox_keras.synthesis.store.pairs import (
    SETTINGS,
    encode,
    pair_name,
    read_settings,
    unwritable,
    write_settings,
)

_NAME = re.compile(r"\d{6,}_(view1|view2|seg)\.nii\.gz")


class PairFolder:
    """Writer of pairs as `000000_view1.nii.gz`, `000000_view2.nii.gz`, `000000_seg.nii.gz`.

    Voxels of 1 mm, uint8 as in `PairFile`. The label map is written last, so a pair with one is
    complete. Several processes may fill one folder, each with its own numbers.

    Args:
        path: the folder to fill.
        numbers: the pairs this writer will add.
        settings: what the pairs depend on. Kept in the folder: the same settings resume, others
            are an error.
        overwrite: write these pairs again; pairs of other settings are removed.

    Raises:
        UserError: the folder holds anything else, or cannot be written.

    Example:
        ```python
        >>> import tempfile
        >>> with PairFolder(tempfile.mkdtemp() + "/pairs", [0, 1], {"seed": 0}) as pairs:
        ...     pairs.write(0, np.ones((2, 4, 4, 4)), np.zeros((4, 4, 4), int))
        ...     pairs.missing
        [1]
        ```
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        numbers: Sequence[int],
        settings: dict[str, Any],
        overwrite: bool = False,
    ) -> None:
        """Find out what is done already."""
        self.path = Path(path)
        self.numbers = list(numbers)
        self.settings = json.loads(json.dumps(settings))
        self._written: set[int] = set()
        self._resume = not overwrite
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: expected a folder to write, received a file")
        prepare_folder(self.path)
        # shards that begin together find one folder, begun once
        with exclusive(self.path, wait=60):
            self._prepare(overwrite)

    @property
    def missing(self) -> list[int]:
        """Numbers of the pairs that remain to be written, in order."""
        return [number for number in self.numbers if not self._is_done(number)]

    def write(self, number: int, views: np.ndarray, labels: np.ndarray) -> None:
        """Add a pair: views `(2, D, H, W)` in [0, 1], labels `(D, H, W)` integers below 256."""
        images, seg = encode(views, labels)
        grid = Grid(seg.shape, np.eye(4))
        try:
            for kind, array in (("view1", images[0]), ("view2", images[1]), ("seg", seg)):
                save_volume(self._file(number, kind), array, grid, overwrite=True)
        except (OSError, UserError) as error:
            raise unwritable(self.path, error) from error
        self._written.add(number)

    def finish(self) -> None:
        """All pairs must have been written."""
        if self.missing:
            raise ValueError(
                f"all pairs must be written first. Received: {len(self.missing)} missing"
            )

    def __enter__(self) -> Self:
        """Enter a `with` block, as with `PairFile`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held in memory."""

    def _file(self, number: int, kind: str) -> Path:
        return self.path / f"{pair_name(number)}_{kind}.nii.gz"

    def _is_done(self, number: int) -> bool:
        return number in self._written or (self._resume and self._file(number, "seg").exists())

    def _prepare(self, overwrite: bool) -> None:
        """Refuse a folder in use; clear pairs of other settings only when told to."""
        found = read_settings(self.path)
        used = any(not path.name.startswith(".") for path in self.path.iterdir())
        if used and found != self.settings:
            if not overwrite:
                raise UserError(f"{self.path}: the output exists already and is of other settings")
            for file in self.path.iterdir():
                if _NAME.fullmatch(file.name) or file.name == SETTINGS:
                    file.unlink()
        write_settings(self.path, self.settings)
