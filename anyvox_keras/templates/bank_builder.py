"""Building a bank file piece by piece."""

import contextlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from anyvox_keras import io
from anyvox_keras.templates.bank_file import START, PackedMask, write_all, write_index

#: Seconds of work that a killed build may lose.
CHECKPOINT_S = 5.0


class BankBuilder(io.ResumableStore):
    """Writer of a bank file, which survives a crash at any moment and goes on.

    Words go to `<path>.partial`; what they are goes, once they are on the disk, to
    `<path>.journal`, one line a group. Words behind the journal's last whole line are cut off by
    the next build. `finish` adds the index and renames: the file appears whole or not at all.

    Args:
        path: The file to make.
        settings: What the bank is made from. Other settings than those of a begun build are a
            mistake.

    Attributes:
        groups: Names of the groups that are in.
        failures: One line for every file that could not be read.

    Raises:
        UserError: If the file exists, was begun with other settings, is being built by another
            process, or cannot be written, as on a full disk.
    """

    advice = "delete it to build anew"
    _file: BinaryIO
    _recorded: int  # bytes of the journal that are on the disk

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        super().__init__(io.check_output(path), settings)
        self.partial = path.with_name(path.name + ".partial")
        self.journal = path.with_name(path.name + ".journal")
        self.begin()

    def __len__(self) -> int:
        """Count the templates that are in."""
        return len(self._names)

    def add(self, group: str, shapes: Iterable[PackedMask], failures: Iterable[str] = ()) -> None:
        """Add the templates of a group."""
        line: dict[str, Any] = {"group": group, "shapes": [], "failures": list(failures)}
        with self._writing(self.path):
            self._file.seek(START + 4 * self._words)
            for name, words, size in shapes:
                write_all(self._file, words.astype("<i4", copy=False))
                line["shapes"].append([name, size])
        self._note(line)
        self._lines.append(json.dumps(line) + "\n")
        if time.monotonic() - self._saved > CHECKPOINT_S:
            self.flush()

    def flush(self) -> None:
        """Put on the disk what was added: first the words, then the lines that tell of them."""
        if not self._lines:
            return
        lines = "".join(self._lines).encode()
        with self._writing(self.path):
            os.fsync(self._file)
            with _open(self.journal) as journal:
                journal.truncate(self._recorded)  # an earlier try may have left a part of a line
                journal.seek(self._recorded)
                write_all(journal, lines)
                os.fsync(journal)
        self._recorded += len(lines)
        self._lines.clear()
        self._saved = time.monotonic()

    def discard(self) -> None:
        """Remove a build that came to nothing."""
        self.partial.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)
        self._lines.clear()

    def _prepare(self, held: contextlib.ExitStack) -> None:
        """Go on behind the last template whose line is whole."""
        self.groups: set[str] = set()
        self.failures: list[str] = []
        self._names: list[str] = []
        self._sizes: list[tuple[int, int, int]] = []
        self._lines: list[str] = []
        self._words = 0
        self._saved = time.monotonic()
        self._file = held.enter_context(_open(self.partial))
        text = self.journal.read_text(encoding="utf-8") if self.journal.exists() else ""
        text = text[: text.rfind("\n") + 1]
        self._recorded = len(text.encode())
        begun, *groups = [json.loads(line) for line in text.splitlines()] or [None]
        self._require_same(begun, self.journal)
        if begun is None:
            self._lines.append(json.dumps(self.settings) + "\n")
        for line in groups:
            self._note(line)
        write_all(self._file, bytes(START))  # no header: what is not finished does not open

    def _complete(self) -> None:
        """Add the index and give the file its name."""
        sizes = np.asarray(self._sizes, "int32").reshape(-1, 3)
        ends = np.cumsum(words_of(sizes))
        self._file.truncate(START + 4 * self._words)
        write_index(self._file, ends - words_of(sizes), sizes, self._names, self.settings)
        os.fsync(self._file)
        self._file.close()  # Windows renames no open file
        os.replace(self.partial, self.path)
        self.journal.unlink(missing_ok=True)

    def _note(self, line: dict[str, Any]) -> None:
        self.groups.add(line["group"])
        self.failures += line["failures"]
        self._names += [name for name, _ in line["shapes"]]
        self._sizes += [tuple(size) for _, size in line["shapes"]]
        self._words += int(words_of(np.array([size for _, size in line["shapes"]])).sum())


def _open(path: Path) -> BinaryIO:
    """Open an unbuffered file to read and write where one likes, made if it is absent."""
    path.touch()
    return open(path, "r+b", 0)


def words_of(sizes: np.ndarray) -> np.ndarray:
    """Count the words `(N,)` of templates of sizes `(N, 3)`."""
    sizes = sizes.reshape(-1, 3)
    return -(-sizes.prod(axis=1, dtype="int64") // 32)
