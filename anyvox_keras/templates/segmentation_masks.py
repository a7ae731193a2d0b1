"""Masks from folders of segmentations."""

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from anyvox_keras._errors import UserError
from anyvox_keras.io.load_labels import load_labels
from anyvox_keras.templates.packed_mask import crop_to_box

#: TotalSegmentator's parts that are merged into one mask a case.
MERGED = ("rib", "vertebrae")
ENDINGS = (".nii", ".nii.gz", ".mgz")

Named = tuple[str, np.ndarray]


def segmentation_masks(
    folder: Path, side: int = 128, skip: frozenset[str] = frozenset()
) -> Iterator[Named]:
    """Yield `(name, mask)` of every shape below a folder, in the order of the sorted paths.

    Args:
        folder: Where to look, at any depth; it is only read.
        side: Shapes are resampled by `side / 128`.
        skip: Groups (see `mask_groups`) not to read again.

    Raises:
        UserError: If the folder does not exist or holds no shape.
    """
    failures: list[str] = []
    found = bool(skip)
    for _, masks in read_groups(folder, side, skip, failures):
        found = found or bool(masks)
        yield from masks
    warn_of(failures)
    if not found:
        raise UserError(f"{folder}: expected segmentations ({', '.join(ENDINGS)}), found no shape")


def warn_of(failures: list[str]) -> None:
    """Name the files that could not be read, once."""
    if failures:
        lines = "\n  ".join(failures)
        warnings.warn(f"{len(failures)} files were skipped:\n  {lines}", stacklevel=3)


def read_groups(
    folder: Path, side: int, skip: frozenset[str], failures: list[str]
) -> Iterator[tuple[str, list[Named]]]:
    """Read the groups of a folder in parallel, in order; failures are appended."""
    groups = {name: paths for name, paths in mask_groups(folder).items() if name not in skip}
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        pending = []
        for name, paths in groups.items():
            pending.append((name, pool.submit(_read_group, name, paths, side)))
            # A short queue bounds the memory: a finished group waits until it is taken.
            if len(pending) > 2 * workers:
                yield _taken(pending.pop(0), failures)
        for entry in pending:
            yield _taken(entry, failures)


def mask_groups(folder: Path) -> dict[str, list[Path]]:
    """Group the files that make one shape, or that one multi-label map holds, by name."""
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder of segmentations, received no folder")
    groups: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or not path.name.endswith(ENDINGS):
            continue
        relative = path.relative_to(folder).as_posix()
        name = next(relative.removesuffix(end) for end in ENDINGS[::-1] if relative.endswith(end))
        if path.parent.name == "segmentations":
            prefix = next((part for part in MERGED if path.name.startswith(f"{part}_")), None)
            name = f"{Path(name).parent.as_posix()}/{prefix}" if prefix else name
        groups.setdefault(name, []).append(path)
    return groups


def _taken(entry: tuple, failures: list[str]) -> tuple[str, list[Named]]:
    name, future = entry
    masks, broken = future.result()
    failures.extend(broken)
    return name, masks


def _read_group(name: str, paths: list[Path], side: int) -> tuple[list[Named], list[str]]:
    """Read one group: a merged or single mask, or each label of a map."""
    failures, masks = [], []
    binary = paths[0].parent.name == "segmentations"
    union: np.ndarray | None = None
    for path in paths:
        try:
            labels = load_labels(path).array
            if binary:
                union = labels > 0 if union is None else union | (labels > 0)
        except (UserError, ValueError, OSError) as error:
            failures.append(str(error))
            continue
        if not binary:
            values = np.unique(labels)
            masks += [(f"{name}:{v}", labels == v) for v in values if v]
    if union is not None:
        masks.append((name, union))
    cropped = [(name, crop_to_box(mask)) for name, mask in masks if mask.any()]
    return [(name, _resampled(mask, side)) for name, mask in cropped], failures


def _resampled(mask: np.ndarray, side: int) -> np.ndarray:
    """Resample by `side / 128`, nearest and half-voxel correct; nothing vanishes."""
    if side == 128:
        return mask
    for axis, n in enumerate(mask.shape):
        m = max(1, round(n * side / 128))
        index = np.floor((np.arange(m) + 0.5) * n / m).astype(int)
        mask = np.take(mask, index, axis=axis)
    return crop_to_box(mask) if mask.any() else np.ones((1, 1, 1), bool)
