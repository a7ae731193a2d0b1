"""A bank of templates as one file that is mapped into memory, not read."""

import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from anyvox_keras.errors import UserError

MAGIC, VERSION = b"anyvoxbk", 1
#: magic, version, CRC-32 of the index, number of templates, of words, of the index's bytes
HEADER = struct.Struct("<8sIIQQQ")
#: where the words begin: aligned for any reader
START = 64


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
            whole = START + 4 * words + size == path.stat().st_size
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
