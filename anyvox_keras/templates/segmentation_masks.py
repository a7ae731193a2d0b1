"""Masks from folders of segmentations."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anyvox_keras._errors import UserError
from anyvox_keras.io.load_labels import load_labels
from anyvox_keras.templates.packed_mask import LARGEST, PackedMask, crop_to_box, pack_mask

#: TotalSegmentator's parts that are merged into one mask a case.
MERGED = ("rib", "vertebrae")
ENDINGS = (".nii", ".nii.gz", ".mgz")


class Group(NamedTuple):
    """What one file, or the files of one merged shape, gave."""

    name: str
    shapes: list[PackedMask]
    failures: list[str]


def read_groups(groups: Mapping[str, list[Path]], scale: float = 1.0) -> Iterator[Group]:
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
            name = (Path(name).parent / prefix).as_posix() if prefix else name
        groups.setdefault(name, []).append(path)
    return groups


def _read_group(name: str, paths: list[Path], scale: float) -> Group:
    """Read one group: a merged or single mask, or each label of a map."""
    group, masks = Group(name, [], []), []
    binary = paths[0].parent.name == "segmentations"
    union: np.ndarray | None = None
    for path in paths:
        try:
            labels = load_labels(path).array
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
        _pack(own, _resampled(crop_to_box(mask), scale), group)
    return group


def _pack(name: str, mask: np.ndarray, group: Group) -> None:
    if max(mask.shape) > LARGEST:
        expected = f"expected a shape of at most {LARGEST} voxels along each axis"
        group.failures.append(f"{name}: {expected}, received {mask.shape}")
    else:
        group.shapes.append(PackedMask(name, *pack_mask(mask)))


def _resampled(mask: np.ndarray, scale: float) -> np.ndarray:
    """Resample by `scale`, nearest and half-voxel correct; nothing vanishes."""
    if scale == 1:
        return mask
    for axis, n in enumerate(mask.shape):
        m = max(1, round(n * scale))
        index = np.floor((np.arange(m) + 0.5) * n / m).astype(int)
        mask = np.take(mask, index, axis=axis)
    return mask if mask.any() else np.ones((1, 1, 1), bool)
