"""The shapes that label maps are made of, packed, from any of their sources."""

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from anyvox_keras.errors import UserError, check_count, check_seed
from anyvox_keras.io.output import atomic, check_output
from anyvox_keras.templates import bank_file, segmentations
from anyvox_keras.templates.anatomical.family import anatomical_bank
from anyvox_keras.templates.geometric_shapes import draw_geometric_shape


class TemplateBank:
    """Binary shapes, each cropped to its bounding box and packed 32 voxels a word.

    Args:
        words: `(W,)` int32: the shapes' bits one after the other, each starting on a word.
        offsets: `(N,)` int64: where each shape's words start.
        sizes: `(N, 3)` int32: extents of each bounding box.
        names: One name per shape.
        groups: `(N,)`: numbers of groups, rising. Shapes of one group, an organ, its wall and its
            core, follow one another in one box and are placed together. By default each shape is
            a group of its own.

    Raises:
        ValueError: If the parts do not fit together, or a shape is longer than 1023 voxels.

    Example:
        ```python
        import anyvox_keras as avx

        bank = avx.TemplateBank.geometric(count=50, side=32)
        print(len(bank), bank.names[0], bank.mask(0).shape)
        ```
    """

    def __init__(
        self,
        words: np.ndarray,
        offsets: Any,
        sizes: Any,
        names: Sequence[str] | None = None,
        groups: Any = None,
    ) -> None:
        self.words = words
        self.offsets = np.asarray(offsets, "int64").reshape(-1)
        self.sizes = np.asarray(sizes, "int32").reshape(-1, 3)
        self.names = list(names) if names is not None else [str(i) for i in range(len(self))]
        if not len(self.offsets) == len(self.sizes) == len(self.names) > 0:
            counts = f"{len(self.offsets)}, {len(self.sizes)}, {len(self.names)}"
            message = "`offsets`, `sizes`, `names` must be as many, at least one"
            raise ValueError(f"{message}. Received: {counts}")
        if self.sizes.min() < 1 or self.sizes.max() > bank_file.LARGEST:
            extremes = f"{self.sizes.min()} to {self.sizes.max()}"
            raise ValueError(f"`sizes` must be in [1, {bank_file.LARGEST}]. Received: {extremes}")
        self._lengths = bank_file.words_of(self.sizes)
        if self.offsets.min() < 0 or (self.offsets + self._lengths).max() > len(words):
            raise ValueError(f"`words` must hold every shape. Received: {len(words)} words")
        _, self.groups = np.unique(
            np.arange(len(self)) if groups is None else np.asarray(groups), return_inverse=True
        )
        self._check_groups(groups)
        #: first shape of each group, and the number of shapes
        self._starts = np.append(np.flatnonzero(np.diff(self.groups, prepend=-1)), len(self))

    def _check_groups(self, received: Any) -> None:
        if len(self.groups) != len(self) or (np.diff(self.groups) < 0).any():
            raise ValueError(
                f"`groups` must hold one number per shape, in ascending order. Received: {received}"
            )
        together = np.diff(self.groups) == 0
        if (np.diff(self.sizes, axis=0)[together] != 0).any():
            raise ValueError(
                "shapes of one group must have the same `sizes`. Received: different ones"
            )

    def __len__(self) -> int:
        """Count the shapes."""
        return len(self.offsets)

    def __repr__(self) -> str:
        """Say what it holds, in one line."""
        longest, megabytes = int(self.sizes.max()), self.words.nbytes / 1e6
        return f"TemplateBank({len(self)} shapes of up to {longest} voxels, {megabytes:.3g} MB)"

    @classmethod
    def from_masks(cls, masks: Iterable[np.ndarray], names: Sequence[str] | None = None) -> Any:
        """Pack masks `(D, H, W)`; empty ones are an error."""
        packed = [bank_file.pack_mask(np.asarray(mask)) for mask in masks]
        given = [str(i) for i in range(len(packed))] if names is None else names
        named = zip(given, packed, strict=True)
        return cls.from_packed([bank_file.PackedMask(name, *parts) for name, parts in named])

    @classmethod
    def from_packed(cls, packed: Sequence[bank_file.PackedMask], groups: Any = None) -> Any:
        """Join masks that are packed and named already.

        Args:
            packed: The shapes, of `pack_mask` or `pack_box`.
            groups: Numbers of their groups.
        """
        if not packed:
            raise ValueError("`masks` must hold at least one mask. Received: none")
        words = [shape.words for shape in packed]
        starts = np.cumsum([0, *(len(part) for part in words[:-1])])
        sizes, names = [shape.size for shape in packed], [shape.name for shape in packed]
        return cls(np.concatenate(words), starts, sizes, names, groups)

    @classmethod
    def joined(cls, banks: Iterable[Any]) -> Any:
        """Hold the shapes of several banks in one, in their order.

        Example:
            ```python
            small = avx.TemplateBank.geometric(count=20, side=16)
            both = avx.TemplateBank.joined([small, avx.TemplateBank.geometric(50, side=32)])
            ```
        """
        banks = list(banks)
        if not banks:
            raise ValueError("`banks` must hold at least one bank. Received: none")
        starts = np.cumsum([0, *(len(bank.words) for bank in banks[:-1])])
        return cls(
            np.concatenate([bank.words for bank in banks]),
            np.concatenate(
                [bank.offsets + start for bank, start in zip(banks, starts, strict=True)]
            ),
            np.concatenate([bank.sizes for bank in banks]),
            [name for bank in banks for name in bank.names],
            _numbered_on([bank.groups for bank in banks]),
        )

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Any:
        """Open a bank file; its shapes stay on the disk until they are drawn.

        Args:
            path: A file of `save` or of `from_segmentations(..., cache=path)`.

        Raises:
            UserError: If the file is missing, no bank, of another version, or damaged.

        Example:
            ```python
            avx.TemplateBank.geometric(count=50, side=32).save("shapes.bank")
            shapes = avx.TemplateBank.open("shapes.bank")
            ```
        """
        file = bank_file.read_bank(Path(path))
        return cls(file.words, file.offsets, file.sizes, file.names, file.groups)

    def save(self, path: str | PathLike[str], overwrite: bool = False) -> None:
        """Write the bank to one file, which appears whole or not at all.

        Args:
            path: The file, which `open` maps into memory.
            overwrite: Whether an existing file is replaced.

        Raises:
            UserError: If the file exists, or its folder cannot be written.

        Example:
            ```python
            bank.save("geometric.bank")
            ```
        """
        self.write(path, {}, overwrite)

    def write(self, path: str | PathLike[str], settings: dict[str, Any], overwrite: bool) -> None:
        """Do as `save` does, and note in the file what the bank was made from."""
        ends = np.cumsum(self._lengths)
        with atomic(check_output(path, overwrite)) as temporary, open(temporary, "wb", 0) as file:
            bank_file.write_all(file, bytes(bank_file.START))
            for start, count in zip(self.offsets, self._lengths, strict=True):
                bank_file.write_all(
                    file, self.words[start : start + count].astype("<i4", copy=False)
                )
            lengths = np.diff(self._starts).tolist() if self.grouped else []
            bank_file.write_index(
                file, ends - self._lengths, self.sizes, self.names, settings, lengths
            )

    @classmethod
    def geometric(cls, count: int, side: int, seed: int = 0) -> Any:
        """Draw `count` shapes of the geometric family, at most `side` voxels long.

        Shape `i` depends on `(seed, i)` and `side` only: a smaller bank is the start of a larger
        one, and the bank is the same on every backend. `draw_geometric_shape` tells the family.

        Args:
            count: Number of shapes, at least 1.
            side: Largest extent in voxels, at least 16.
            seed: Seed of the shapes.

        Raises:
            ValueError: If `count` or `side` is too small, or `side` above 1023.

        Example:
            ```python
            import anyvox_keras as avx

            bank = avx.TemplateBank.geometric(count=50, side=32)
            ```
        """
        check_count("count", count)
        check_seed("seed", seed)
        _check_side(side)
        generators = (
            np.random.Generator(np.random.PCG64([seed & 0xFFFFFFFFFFFFFFFF, index]))
            for index in range(count)
        )
        kinds, masks = zip(*(draw_geometric_shape(rng, side) for rng in generators), strict=True)
        return cls.from_masks(masks, [f"{kind}_{i:04d}" for i, kind in enumerate(kinds)])

    @classmethod
    def anatomical(
        cls, count: int, side: int, seed: int = 0, *, cache: str | PathLike[str] | None = None
    ) -> Any:
        """Draw `count` shapes as anatomy has them: warped, carved, folded, branching, nested.

        A group, the draw number `i`, depends on `(seed, i)` and `side` only: a smaller bank is the
        start of a larger one, and the bank is the same on every backend. A quarter of the shapes
        are longer than `side`, up to 2.5 times. `draw_anatomical_shapes` tells the family.

        Args:
            count: Number of shapes, at least 1; of a last group that does not fit, the first.
            side: Side of the volumes to be made in voxels, at least 16.
            seed: Seed of the shapes.
            cache: File to keep the shapes in. What it holds already is not drawn again, so that a
                killed build goes on, and a larger bank begins with a smaller one.

        Raises:
            ValueError: If `count` or `side` is too small, or `side` above 1023.
            UserError: If the cache holds other shapes, is damaged or cannot be written.

        Example:
            ```python
            import anyvox_keras as avx

            bank = avx.TemplateBank.anatomical(count=20, side=32)
            ```
        """
        check_count("count", count)
        check_seed("seed", seed)
        _check_side(side)
        return anatomical_bank(cls, count, side, seed, cache)

    @classmethod
    def from_segmentations(
        cls,
        folder: str | PathLike[str],
        side: int = 128,
        *,
        resample: bool = False,
        voxel_mm: float | None = None,
        cache: str | PathLike[str] | None = None,
    ) -> Any:
        """Read every mask of a folder of segmentations; the folder is only read.

        Understood are the layout of TotalSegmentator v1 (`<case>/segmentations/<organ>.nii.gz`,
        where ribs and vertebrae are merged into one mask each) and multi-label maps
        (`.nii`, `.nii.gz`, `.mgz`), whose every label is a shape. Empty masks are skipped;
        files that cannot be read are named in one warning and skipped.

        Args:
            folder: Where to look, at any depth.
            side: Side of the volumes to be made, at least 16.
            resample: Whether shapes are resampled by `side / 128` (nearest), so that their share
                of the volume does not depend on the side. Off, they keep their own size.
            voxel_mm: Spacing that shapes are resampled to first, along each axis, so that those of
                scans at 1 mm and at 3 mm become comparable; the paper's are at 1.5 mm. By default
                every file keeps its own voxels.
            cache: File to keep the shapes in, packed, at one bit a voxel of their boxes. It is
                built while the folder is read (a killed build goes on where it stood) and opened
                as it is if the folder has not changed. Without it the shapes are held in memory.

        Raises:
            ValueError: If `side` is below 16 or `voxel_mm` not above 0.
            UserError: If the folder does not exist or holds no shape; if the cache was made from
                other files or settings, or cannot be written.

        Example:
            ```python
            import nibabel as nib

            labels = np.zeros((24, 24, 24), "int16")
            labels[4:12, 4:12, 4:20] = 1
            nib.save(nib.Nifti1Image(labels, np.eye(4)), "case.nii.gz")
            organs = avx.TemplateBank.from_segmentations(".")  # or "Totalsegmentator_dataset"
            ```
        """
        _check_side(side)
        if voxel_mm is not None and not voxel_mm > 0:
            raise ValueError(f"`voxel_mm` must be > 0. Received: voxel_mm={voxel_mm}")
        folder, scale = Path(folder), segmentations.Scale(side / 128 if resample else 1.0, voxel_mm)
        if cache is None:
            return cls.from_packed(segmentations.read_segmentations(folder, scale))
        if not Path(cache).exists():
            segmentations.build_bank_file(folder, scale, Path(cache))
            return cls.open(cache)
        groups = segmentations.mask_groups(folder)
        made_from = segmentations.bank_settings(folder, groups, scale)
        if not segmentations.same_settings(bank_file.read_bank(Path(cache)).settings, made_from):
            raise UserError(f"{cache}: made from other files or settings; delete it to build anew")
        return cls.open(cache)

    @property
    def grouped(self) -> bool:
        """Whether any shapes are placed together."""
        return len(self._starts) <= len(self)

    @property
    def group_count(self) -> int:
        """Number of groups; without nested shapes that of the shapes."""
        return len(self._starts) - 1

    def first(self, count: int) -> Any:
        """Hold the first `count` shapes only; their words are shared.

        Example:
            ```python
            few = bank.first(10)
            ```
        """
        chosen = slice(0, count)
        names, groups = self.names[chosen], self.groups[chosen]
        end = int((self.offsets + self._lengths)[chosen].max())
        return type(self)(self.words[:end], self.offsets[chosen], self.sizes[chosen], names, groups)

    def members(self, groups: Any) -> np.ndarray:
        """Turn drawn groups into the shapes to paint: whole groups, one after the other.

        Args:
            groups: `(B, K)` or `(K,)`: numbers of groups.

        Returns:
            int32 of the same shape: indices of shapes; as many groups as fill it, the last of
            which may be cut off.

        Example:
            ```python
            shapes = bank.members([4, 0, 2])
            ```
        """
        groups = np.asarray(groups)
        if not self.grouped:
            return groups.astype("int32")
        if groups.ndim > 1:
            return np.stack([self.members(row) for row in groups])
        starts, ends = self._starts[groups], self._starts[groups + 1]
        shapes = [np.arange(start, end) for start, end in zip(starts, ends, strict=True)]
        return np.concatenate(shapes)[: len(groups)].astype("int32")

    def leaders(self, indices: Any) -> np.ndarray:
        """Tell which of the chosen shapes lends each its place.

        A shape that follows the one before it in the bank, within one group, is placed as that is.

        Args:
            indices: `(B, K)` or `(K,)`: which shapes.

        Returns:
            int32 of the same shape: positions along K.

        Example:
            ```python
            places = bank.leaders(bank.members([4, 0, 2]))
            ```
        """
        indices = np.asarray(indices)
        same = self.groups[indices[..., 1:]] == self.groups[indices[..., :-1]]
        follows = np.zeros(indices.shape, bool)
        follows[..., 1:] = same & (np.diff(indices, axis=-1) == 1)
        places = np.where(follows, 0, np.arange(indices.shape[-1]))
        return np.maximum.accumulate(places, axis=-1).astype("int32")

    def mask(self, index: int) -> np.ndarray:
        """Unpack one shape to a bool array of its own size."""
        start, size = int(self.offsets[index]), tuple(int(n) for n in self.sizes[index])
        words = self.words[start : start + int(self._lengths[index])]
        return bank_file.unpack_mask(words, (size[0], size[1], size[2]))

    def pack(self, indices: Any, words: int | None = None) -> dict[str, np.ndarray]:
        """Gather the shapes of a batch, as `LabelEnsemble` takes them.

        Args:
            indices: `(B, K)` or `(K,)`: which shapes; repeats are stored once.
            words: Length to pad each sample's words to. By default the next power of two, so that
                compiled graphs meet few shapes.

        Returns:
            `words` `(B, W)`, `offsets` `(B, K)`, `sizes` `(B, K, 3)`, of a bank with groups also
            `leaders` `(B, K)`, all int32; without `B` if `indices` has none.

        Raises:
            ValueError: If an index is out of range or `words` too short.

        Example:
            ```python
            packed = bank.pack([[0, 3, 3], [1, 2, 0]])
            ```
        """
        indices = np.asarray(indices, "int64")
        if indices.size and not 0 <= indices.min() <= indices.max() < len(self):
            extremes = f"{indices.min()} to {indices.max()}"
            raise ValueError(f"`indices` must be in [0, {len(self)}). Received: {extremes}")
        if indices.ndim == 1:
            return {name: part[0] for name, part in self.pack(indices[None], words).items()}
        needed = max(int(self._lengths[np.unique(row)].sum()) for row in indices)
        length = words or 1 << max(needed - 1, 1).bit_length()
        if length < needed:
            raise ValueError(f"`words` must be >= {needed}. Received: words={words}")
        parts = [self._pack_one(row, length) for row in indices]
        return {
            "words": np.stack([part for part, _ in parts]),
            "offsets": np.stack([part for _, part in parts]),
            "sizes": self.sizes[indices],
            **({"leaders": self.leaders(indices)} if self.grouped else {}),
        }

    def _pack_one(self, row: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        unique, place = np.unique(row, return_inverse=True)
        lengths = self._lengths[unique]
        starts = np.cumsum(lengths) - lengths
        words = np.zeros(length, "int32")
        for source, start, n in zip(self.offsets[unique], starts, lengths, strict=True):
            words[start : start + n] = self.words[source : source + n]
        return words, starts[place].astype("int32")


def _check_side(side: int) -> None:
    if not 16 <= side <= bank_file.LARGEST:
        raise ValueError(f"`side` must be in [16, {bank_file.LARGEST}]. Received: side={side}")


def _numbered_on(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Number the groups of several banks one after the other."""
    firsts = np.cumsum([0, *(part[-1] + 1 for part in groups[:-1])])
    return np.concatenate([part + first for part, first in zip(groups, firsts, strict=True)])
