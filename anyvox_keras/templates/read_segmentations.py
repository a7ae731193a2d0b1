"""From a folder of segmentations to packed templates, in memory or in a bank file."""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from anyvox_keras._errors import UserError
from anyvox_keras.io.progress import progress
from anyvox_keras.templates.bank_builder import BankBuilder
from anyvox_keras.templates.packed_mask import PackedMask
from anyvox_keras.templates.segmentation_masks import ENDINGS, mask_groups, read_groups

Groups = Mapping[str, list[Path]]


def read_segmentations(folder: Path, scale: float) -> list[PackedMask]:
    """Read every template of a folder into memory.

    Raises:
        UserError: If the folder does not exist or holds no shape.
    """
    groups = mask_groups(folder)
    shapes: list[PackedMask] = []
    failures: list[str] = []

    def keep(_: str, found: list[PackedMask], failed: list[str]) -> None:
        shapes.extend(found)
        failures.extend(failed)

    _read(groups, scale, keep)
    _report(folder, failures, bool(shapes))
    return shapes


def build_bank_file(folder: Path, scale: float, path: Path) -> None:
    """Build a bank file of a folder; what a killed build has done is not done again.

    Raises:
        UserError: If the folder does not exist or holds no shape, or the file cannot be written.
    """
    groups = mask_groups(folder)
    with BankBuilder(path, bank_settings(folder, groups, scale)) as builder:
        _read(groups, scale, builder.add, builder.groups)
        if not len(builder):
            builder.discard()
        _report(folder, builder.failures, bool(len(builder)))
        builder.finish()


def bank_settings(folder: Path, groups: Groups, scale: float) -> dict[str, Any]:
    """Describe what a bank of a folder is made from: the files' names and sizes, wherever it is."""
    digest = hashlib.sha256()
    for path in (path for paths in groups.values() for path in paths):
        entry = f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\n"
        digest.update(entry.encode("utf-8", "surrogateescape"))
    return {"files": digest.hexdigest(), "scale": scale}


def _read(groups: Groups, scale: float, add: Callable, done: Iterable[str] = ()) -> None:
    """Read the groups that are not done, under a progress bar."""
    begun = frozenset(done)
    missing = {name: paths for name, paths in groups.items() if name not in begun}
    bar = progress(read_groups(missing, scale), "files", len(groups), len(begun))
    for name, shapes, failures in bar:
        add(name, shapes, failures)


def _report(folder: Path, failures: list[str], found: bool) -> None:
    """Name the files that could not be read, once; nothing at all is a mistake."""
    if failures:
        lines = "\n  ".join(failures)
        warnings.warn(f"{len(failures)} files were skipped:\n  {lines}", stacklevel=4)
    if not found:
        raise UserError(f"{folder}: expected segmentations ({', '.join(ENDINGS)}), found no shape")
