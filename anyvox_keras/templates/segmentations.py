"""From a folder of segmentations to packed templates, in memory or in a bank file."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.io.load import load_labels
from anyvox_keras.progress import counted
from anyvox_keras.templates import bank_file

Groups = Mapping[str, list[Path]]
#: TotalSegmentator's parts that are merged into one mask a case.
MERGED = ("rib", "vertebrae")
ENDINGS = (".nii", ".nii.gz", ".mgz", ".mgh")
#: Images that are named as skipped, not passed over without a word.
UNREAD = (".nrrd", ".mha", ".mhd", ".hdr", ".nii.bz2", ".nii.zip", ".nii.zst")

#: of the settings of a bank: a checksum over all files
CONTENTS = "contents"
# bytes of the CRC-32 and the length that end a gzip file
_GZIP_SUM = 8


class Scale(NamedTuple):
    """How shapes are resampled.

    Attributes:
        factor: Voxels of the bank for one of the file, or of `voxel_mm`.
        voxel_mm: Spacing to resample to before; None keeps the file's.
    """

    factor: float = 1.0
    voxel_mm: float | None = None

    def of(self, spacing: Iterable[float]) -> list[float]:
        """Factors along the axes of a file with this spacing in mm."""
        if self.voxel_mm is None:
            return [self.factor] * 3
        return [self.factor * float(mm) / self.voxel_mm for mm in spacing]


AS_STORED = Scale()


def read_segmentations(folder: Path, scale: Scale) -> list[bank_file.PackedMask]:
    """Read every template of a folder into memory.

    Raises:
        UserError: If the folder does not exist or holds no shape.
    """
    groups = mask_groups(folder)
    shapes: list[bank_file.PackedMask] = []
    failures: list[str] = []

    def keep(_: str, found: list[bank_file.PackedMask], failed: list[str]) -> None:
        shapes.extend(found)
        failures.extend(failed)

    _read(groups, scale, keep)
    _report(folder, failures, bool(shapes))
    return shapes


def build_bank_file(folder: Path, scale: Scale, path: Path) -> None:
    """Build a bank file of a folder; what a killed build has done is not done again.

    Raises:
        UserError: If the folder does not exist or holds no shape, or the file cannot be written.
    """
    groups = mask_groups(folder)
    with bank_file.BankBuilder(path, bank_settings(folder, groups, scale)) as builder:
        _read(groups, scale, builder.add, builder.groups)
        if not len(builder):
            builder.discard()
        _report(folder, builder.failures, bool(len(builder)))
        builder.finish()


def bank_settings(folder: Path, groups: Groups, scale: Scale) -> dict[str, Any]:
    """Describe what a bank of a folder is made from: the files' names, sizes and contents."""
    files, contents = hashlib.sha256(), hashlib.sha256()
    for path in (path for paths in groups.values() for path in paths):
        entry = f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\n"
        files.update(entry.encode("utf-8", "surrogateescape"))
        contents.update(_checksum(path))
    digests = {"files": files.hexdigest(), CONTENTS: contents.hexdigest()}
    settings = {**digests, "scale": scale.factor}
    # Banks from before `voxel_mm` existed go on to open.
    return settings if scale.voxel_mm is None else {**settings, "voxel_mm": scale.voxel_mm}


def same_settings(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether a bank was made from what is there now; banks of 0.1 do not know the contents."""
    return {CONTENTS: expected[CONTENTS], **found} == expected


def _checksum(path: Path) -> bytes:
    """What changes with a file's contents; a gzip file ends with such a sum and is not read."""
    try:
        with open(path, "rb") as file:
            if path.suffix.lower() in (".gz", ".mgz"):
                file.seek(max(0, path.stat().st_size - _GZIP_SUM))
                return file.read()
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""  # its reader will say so


def _read(groups: Groups, scale: Scale, add: Callable, done: Iterable[str] = ()) -> None:
    """Read the groups that are not done, under a progress bar."""
    begun = frozenset(done)
    missing = {name: paths for name, paths in groups.items() if name not in begun}
    bar = counted(read_groups(missing, scale), "files", len(groups), len(begun))
    for name, shapes, failures in bar:
        add(name, shapes, failures)


def _report(folder: Path, failures: list[str], found: bool) -> None:
    """Name the files that could not be read, once; nothing at all is a mistake."""
    if failures:
        lines = "\n  ".join(failures)
        warnings.warn(f"{len(failures)} files were skipped:\n  {lines}", stacklevel=4)
    if not found:
        raise UserError(f"{folder}: expected segmentations ({', '.join(ENDINGS)}), found no shape")


class Group(NamedTuple):
    """What one file, or the files of one merged shape, gave."""

    name: str
    shapes: list[bank_file.PackedMask]
    failures: list[str]


def read_groups(groups: Mapping[str, list[Path]], scale: Scale = AS_STORED) -> Iterator[Group]:
    """Read groups of files in parallel, in order.

    Args:
        groups: Of `mask_groups`. The files are only read.
        scale: Shapes are resampled by it.
    """
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        pending: list[Future[Group]] = []
        for name, paths in groups.items():
            pending.append(pool.submit(_read_group, name, paths, scale))
            # A short queue bounds the memory: a finished group waits until it is taken.
            if len(pending) > 2 * workers:
                yield pending.pop(0).result()
        for group in pending:
            yield group.result()


def mask_groups(folder: Path) -> dict[str, list[Path]]:
    """Group the files that make one shape, or that one multi-label map holds, by name.

    Where a case has a folder `segmentations`, nothing else of the case is read: what lies beside
    it (`ct.nii.gz`, `mri.nii.gz`) is a scan, not a label map.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder of segmentations, received no folder")
    groups: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if not _is_read(path, folder):
            continue
        relative = path.relative_to(folder).as_posix()
        name = relative[: -len(_ending(path))]
        if path.parent.name == "segmentations":
            prefix = next((part for part in MERGED if path.name.startswith(f"{part}_")), None)
            name = (Path(name).parent / prefix).as_posix() if prefix else name
        groups.setdefault(name, []).append(path)
    return groups


def _ending(path: Path) -> str:
    """The ending by which a file counts as an image, the longest that fits; else an empty one."""
    fitting = [end for end in (*ENDINGS, *UNREAD) if path.name.lower().endswith(end)]
    return max(fitting, key=len, default="")


def _is_read(path: Path, folder: Path) -> bool:
    """Whether a file may hold shapes, or must be named as one that cannot be read."""
    if path.name.startswith(".") or not _ending(path) or path.is_dir():
        return False
    cases = [folder / part for part in path.relative_to(folder).parents]
    if "segmentations" in {case.name for case in cases}:
        return True
    return not any((case / "segmentations").is_dir() for case in cases)


def _read_group(name: str, paths: list[Path], scale: Scale) -> Group:
    """Read one group: a merged or single mask, or each label of a map."""
    group, masks = Group(name, [], []), []
    binary = paths[0].parent.name == "segmentations"
    union: np.ndarray | None = None
    factors = [scale.factor] * 3
    for path in paths:
        try:
            if _ending(path) in UNREAD:
                raise UserError(f"{path}: expected {', '.join(ENDINGS)}; convert it to NIfTI")
            volume = load_labels(path)
            labels, factors = volume.array, scale.of(volume.spacing)
            if binary:
                union = labels > 0 if union is None else union | (labels > 0)
        except (UserError, ValueError, OSError) as error:
            group.failures.append(str(error))
            continue
        if not binary:
            masks += [(f"{name}:{v}", labels == v) for v in np.unique(labels) if v]
    if union is not None and union.any():
        masks.append((name, union))
    for own, mask in masks:
        _pack(own, _resampled(bank_file.crop_to_box(mask), factors), group)
    return group


def _pack(name: str, mask: np.ndarray, group: Group) -> None:
    if max(mask.shape) > bank_file.LARGEST:
        expected = f"expected a shape of at most {bank_file.LARGEST} voxels along each axis"
        group.failures.append(f"{name}: {expected}, received {mask.shape}")
    else:
        group.shapes.append(bank_file.PackedMask(name, *bank_file.pack_mask(mask)))


def _resampled(mask: np.ndarray, factors: list[float]) -> np.ndarray:
    """Resample along each axis, nearest and half-voxel correct; nothing vanishes."""
    for axis, (n, factor) in enumerate(zip(mask.shape, factors, strict=True)):
        if factor != 1:
            m = max(1, round(n * factor))
            index = np.floor((np.arange(m) + 0.5) * n / m).astype(int)
            mask = np.take(mask, index, axis=axis)
    return mask if mask.any() else np.ones((1, 1, 1), bool)
