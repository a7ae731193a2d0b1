"""Building a bank file piece by piece."""

import contextlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.io.lock import exclusive
from anyvox_keras.io.output import check_output
from anyvox_keras.templates.bank_file import START, PackedMask, write_all, write_index

#: Seconds of work that a killed build may lose.
CHECKPOINT_S = 5.0


class BankBuilder:
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

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = check_output(path)
        self.partial = path.with_name(path.name + ".partial")
        self.journal = path.with_name(path.name + ".journal")
        self.settings = settings
        self.groups: set[str] = set()
        self.failures: list[str] = []
        self._names: list[str] = []
        self._sizes: list[tuple[int, int, int]] = []
        self._lines: list[str] = []
        self._words = self._recorded = 0
        self._held = contextlib.ExitStack()
        self._held.enter_context(exclusive(self.path))
        self._file = _open(self.partial)
        try:
            self._resume()
        except BaseException:
            self._close()
            raise
        self._saved = time.monotonic()

    def __len__(self) -> int:
        """Count the templates that are in."""
        return len(self._names)

    def add(self, group: str, shapes: Iterable[PackedMask], failures: Iterable[str] = ()) -> None:
        """Add the templates of a group."""
        line: dict[str, Any] = {"group": group, "shapes": [], "failures": list(failures)}
        try:
            self._file.seek(START + 4 * self._words)
            for name, words, size in shapes:
                write_all(self._file, words.astype("<i4", copy=False))
                line["shapes"].append([name, size])
            self._note(line)
            self._lines.append(json.dumps(line) + "\n")
            if time.monotonic() - self._saved > CHECKPOINT_S:
                self.checkpoint()
        except OSError as error:
            raise self._unwritable(error) from error

    def checkpoint(self) -> None:
        """Put on the disk what was added: first the words, then the lines that tell of them."""
        os.fsync(self._file)
        lines = "".join(self._lines).encode()
        with _open(self.journal) as journal:
            journal.truncate(self._recorded)  # an earlier try may have left a part of a line
            journal.seek(self._recorded)
            write_all(journal, lines)
            os.fsync(journal)
        self._recorded += len(lines)
        self._lines.clear()
        self._saved = time.monotonic()

    def finish(self) -> None:
        """Add the index and give the file its name."""
        sizes = np.asarray(self._sizes, "int32").reshape(-1, 3)
        ends = np.cumsum(words_of(sizes))
        try:
            self.checkpoint()
            self._file.truncate(START + 4 * self._words)
            write_index(self._file, ends - words_of(sizes), sizes, self._names, self.settings)
            os.fsync(self._file)
            self._file.close()  # Windows renames no open file
            os.replace(self.partial, self.path)
        except OSError as error:
            raise self._unwritable(error) from error
        self.journal.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove a build that came to nothing."""
        self.partial.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)
        self._lines.clear()

    def __enter__(self) -> Self:
        """Use in a `with` block, so that an interrupted build keeps what it has."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Keep what was added, if the disk takes it."""
        if self._lines:
            with contextlib.suppress(OSError):
                self.checkpoint()
        self._close()

    def _close(self) -> None:
        self._file.close()
        self._held.close()

    def _resume(self) -> None:
        """Go on behind the last template whose line is whole."""
        text = self.journal.read_text(encoding="utf-8") if self.journal.exists() else ""
        text = text[: text.rfind("\n") + 1]
        self._recorded = len(text.encode())
        begun, *groups = [json.loads(line) for line in text.splitlines()] or [None]
        if begun is None:
            self._lines.append(json.dumps(self.settings) + "\n")
        elif begun != self.settings:
            raise UserError(
                f"{self.journal}: begun with other files or settings; delete it to build anew"
            )
        for line in groups:
            self._note(line)
        write_all(self._file, bytes(START))  # no header: what is not finished does not open

    def _note(self, line: dict[str, Any]) -> None:
        self.groups.add(line["group"])
        self.failures += line["failures"]
        self._names += [name for name, _ in line["shapes"]]
        self._sizes += [tuple(size) for _, size in line["shapes"]]
        self._words += int(words_of(np.array([size for _, size in line["shapes"]])).sum())

    def _unwritable(self, error: OSError) -> UserError:
        reason = error.strerror or str(error)
        return UserError(
            f"{self.path}: cannot be written ({reason}); nothing is lost, run it again to go on"
        )


def _open(path: Path) -> BinaryIO:
    """Open an unbuffered file to read and write where one likes, made if it is absent."""
    path.touch()
    return open(path, "r+b", 0)


def words_of(sizes: np.ndarray) -> np.ndarray:
    """Count the words `(N,)` of templates of sizes `(N, 3)`."""
    sizes = sizes.reshape(-1, 3)
    return -(-sizes.prod(axis=1, dtype="int64") // 32)
