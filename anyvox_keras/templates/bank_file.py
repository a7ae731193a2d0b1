"""Masks as bits, 32 voxels per word; the file that holds a bank of them, and its writer."""

import contextlib
import json
import os
import struct
import time
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from anyvox_keras import io
from anyvox_keras.errors import UserError

#: Largest extent of a template: the fixed-point coordinates of `LabelEnsemble` end there.
LARGEST = 1023
MAGIC, VERSION = b"anyvoxbk", 1
#: magic, version, CRC-32 of the index, number of templates, of words, of the index's bytes
HEADER = struct.Struct("<8sIIQQQ")
#: where the words begin: aligned for any reader
START = 64
#: Seconds of work that a killed build may lose.
CHECKPOINT_S = 5.0


class PackedMask(NamedTuple):
    """A named template: its words and the size of its bounding box."""

    name: str
    words: np.ndarray
    size: tuple[int, int, int]


def pack_mask(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Crop a mask to its bounding box and pack it, 32 voxels an int32 word.

    Voxel `v` of the box, counted in C order, is bit `v & 31` (least significant first) of word
    `v >> 5`. The last word is filled up with zeros, so that every template starts on a word.

    Args:
        mask: `(D, H, W)`, non-zero inside.

    Returns:
        `(words, size)`: int32 words and the size of the bounding box.

    Raises:
        ValueError: If the mask is empty or not 3D.

    Example:
        ```python
        >>> words, size = pack_mask(np.ones((2, 3, 4)))
        >>> words.tolist(), size
        ([16777215], (2, 3, 4))
        ```
    """
    if mask.ndim != 3:
        raise ValueError(f"`mask` must be (D, H, W). Received: shape={mask.shape}")
    return pack_box(crop_to_box(mask != 0))


def pack_box(box: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Pack a bool array as it is, as the members of a group are, which share one box.

    Example:
        ```python
        >>> pack_box(np.zeros((1, 1, 3), bool))[1]
        (1, 1, 3)
        ```
    """
    bits = np.packbits(box.reshape(-1), bitorder="little")
    padded = np.zeros(-(-bits.size // 4) * 4, "uint8")
    padded[: bits.size] = bits
    depth, height, width = box.shape
    return padded.view("<i4").astype("int32", copy=False), (depth, height, width)


def unpack_mask(words: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Turn packed words back into a bool mask of `size`.

    Example:
        ```python
        >>> unpack_mask(np.array([0b101], "int32"), (1, 1, 3)).tolist()
        [[[True, False, True]]]
        ```
    """
    octets = np.ascontiguousarray(words, "<i4").view("uint8")
    voxels = int(np.prod(size, dtype="int64"))
    return np.unpackbits(octets, count=voxels, bitorder="little").astype(bool).reshape(size)


def crop_to_box(mask: np.ndarray) -> np.ndarray:
    """Crop a bool mask to the smallest box that holds every voxel of it."""
    if not mask.any():
        raise ValueError("`mask` must hold at least one voxel. Received: an empty mask")
    slices = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        inside = np.flatnonzero(mask.any(axis=others))
        slices.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return np.ascontiguousarray(mask[tuple(slices)])


class BankFile(NamedTuple):
    """What a bank file holds: a header, the words of all templates, then the index.

    Attributes:
        words: `(W,)` int32, mapped: pages are read from disk when they are used.
        offsets: `(N,)` int64: where each template's words start.
        sizes: `(N, 3)` int32: extents of each bounding box.
        names: One name a template.
        groups: `(N,)`: number of each template's group; banks without groups store none.
        settings: What the bank was made from.
    """

    words: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    names: list[str]
    groups: np.ndarray
    settings: dict[str, Any]


def write_index(
    file: BinaryIO,
    offsets: np.ndarray,
    sizes: np.ndarray,
    names: Sequence[str],
    settings: dict[str, Any],
    lengths: Sequence[int] = (),
) -> None:
    """Complete a file whose words are written: the index behind them, then the header.

    Before this, the header is zeros, and the file does not open. `lengths` are the templates of
    each group; empty: each is one of its own, and the file is what it was before there were groups.
    """
    words = (file.seek(0, 2) - START) // 4
    parts: dict[str, Any] = {"names": list(names), "settings": settings}
    if len(lengths):
        parts["groups"] = [int(n) for n in lengths]
    index = offsets.astype("<i8").tobytes() + sizes.astype("<i4").tobytes()
    index += json.dumps(parts).encode()
    write_all(file, index)
    header = HEADER.pack(MAGIC, VERSION, zlib.crc32(index), len(names), words, len(index))
    file.seek(0)
    write_all(file, header.ljust(START, b"\0"))


def read_bank(path: Path) -> BankFile:
    """Open a bank file; its words stay on disk.

    Raises:
        UserError: If it is missing, no bank, of another version, or not whole.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(START)
            magic, version, check, count, words, size = HEADER.unpack_from(header.ljust(START))
            if magic != MAGIC:
                raise UserError(f"{path}: expected a finished bank of templates, received no bank")
            if version != VERSION:
                versions = f"expected a bank of version {VERSION}, received version {version}"
                raise UserError(f"{path}: {versions}; build it anew")
            # a damaged header may ask for more than there is memory
            whole = START + 4 * words + size == path.stat().st_size and 20 * count <= size
            file.seek(START + 4 * words if whole else 0)
            index = file.read(size) if whole else b""
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror or error})") from error
    if not whole or zlib.crc32(index) != check:
        raise UserError(f"{path}: expected a whole bank, received a damaged one; build it anew")
    offsets = np.frombuffer(index, "<i8", count)
    sizes = np.frombuffer(index, "<i4", 3 * count, 8 * count).reshape(-1, 3)
    parts = json.loads(index[20 * count :])
    lengths = parts.get("groups", [1] * count)
    groups = np.repeat(np.arange(len(lengths)), lengths)
    mapped = np.memmap(path, "<i4", "r", START, (words,))
    return BankFile(mapped, offsets, sizes, parts["names"], groups, parts["settings"])


def write_all(file: BinaryIO, data: Any) -> None:
    """Write every byte of `data` to an unbuffered file, or raise."""
    rest = memoryview(data).cast("B")
    while len(rest):
        rest = rest[file.write(rest) :]


class BankBuilder(io.ResumableStore):
    """Writer of a bank file, which survives a crash at any moment and goes on.

    Words go to `<path>.partial`; what they are goes, once they are on the disk, to
    `<path>.journal`, one line per group. Words behind the journal's last whole line are cut off by
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
