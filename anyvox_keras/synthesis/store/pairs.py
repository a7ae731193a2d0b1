"""What both stores of synthetic pairs share."""

import json
import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyvox_keras import io
from anyvox_keras.errors import UserError

SETTINGS = "settings.json"


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
