"""Masks as bits, 32 voxels per word, and the file that holds a bank of them."""

import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from anyvox_keras.errors import UserError

#: Largest extent of a template: the fixed-point coordinates of `LabelEnsemble` end there.
LARGEST = 1023
MAGIC, VERSION = b"anyvoxbk", 1
#: magic, version, CRC-32 of the index, number of templates, of words, of the index's bytes
HEADER = struct.Struct("<8sIIQQQ")
#: where the words begin: aligned for any reader
START = 64


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
