"""A binary mask as bits: 32 voxels a word."""

from typing import NamedTuple

import numpy as np

#: Largest extent of a template: the fixed-point coordinates of `LabelEnsemble` end there.
LARGEST = 1023


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
