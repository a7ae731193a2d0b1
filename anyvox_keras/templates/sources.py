"""Banks by name, as a command line gives them."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyvox_keras.errors import UserError
from anyvox_keras.io.output import cache_folder
from anyvox_keras.templates.anatomical.family import LAW
from anyvox_keras.templates.segmentations import mask_groups
from anyvox_keras.templates.template_bank import TemplateBank

#: Names of the families that need no data.
DRAWN = ("geometric", "anatomical")
#: Anatomical shapes from which on drawing takes so long that a bank is kept on the disk.
WORTH_KEEPING = 200


def open_banks(
    sources: str | Sequence[str],
    shapes: int,
    side: int,
    seed: int = 0,
    *,
    resample: bool = True,
    voxel_mm: float | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> TemplateBank:
    """Join the shapes of several sources, scaled to the side of the volumes.

    200 anatomical shapes and more, which take minutes, are drawn once and kept in `cache_folder`.

    Args:
        sources: `geometric`, `anatomical`, bank files of `TemplateBank.save` or folders of
            segmentations, in a sequence or comma-separated.
        shapes: Number of geometric shapes, and of anatomical ones.
        side: Of the volumes.
        seed: Of the drawn shapes.
        resample: Whether shapes of folders are scaled by side / 128.
        voxel_mm: Spacing that shapes of folders are resampled to before; by default each
            file keeps its own.
        cache: File to keep the shapes of a folder in; for one folder only.

    Raises:
        UserError: A source that is missing, a folder without segmentations, a file that is no
            bank, or a cache for several folders.

    Example:
        ```python
        from anyvox_keras.templates import open_banks

        bank = open_banks("geometric,anatomical", shapes=20, side=16)
        ```
    """

    def of(source: str) -> Any:
        if source == "geometric":
            return TemplateBank.geometric(shapes, side, seed)
        if source == "anatomical":
            return _anatomical(shapes, side, seed)
        if Path(source).is_file():
            return TemplateBank.open(source)
        how: dict[str, Any] = {"resample": resample, "voxel_mm": voxel_mm, "cache": cache}
        return TemplateBank.from_segmentations(source, side, **how)

    names = check_sources(sources)
    if cache is not None and sum(Path(name).is_dir() for name in names) != 1:
        raise UserError(f"cache: expected one folder of segmentations, received {', '.join(names)}")
    banks = [of(name) for name in names]
    bank: TemplateBank = banks[0] if len(banks) == 1 else TemplateBank.joined(banks)
    return bank


def check_sources(sources: str | Sequence[str]) -> list[str]:
    """Split sources and find a wrong one before anything is begun: a bank may take minutes.

    Raises:
        UserError: A source that is missing, or a folder without segmentations.
    """
    given = sources.split(",") if isinstance(sources, str) else sources
    names = [name.strip() for name in given]
    for name in names:
        if name in DRAWN or Path(name).is_file():
            continue
        if not Path(name).is_dir() or not mask_groups(Path(name)):
            kinds = " or ".join(f"`{family}`" for family in DRAWN)
            raise UserError(f"{name}: expected {kinds}, a bank, or a folder of segmentations")
    return names


def _anatomical(shapes: int, side: int, seed: int) -> Any:
    if shapes < WORTH_KEEPING:
        return TemplateBank.anatomical(shapes, side, seed)
    folder = cache_folder()
    cache = folder / f"anatomical-{LAW}-side-{side}-seed-{seed}.bank"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return TemplateBank.anatomical(shapes, side, seed, cache=cache)
    except (UserError, OSError) as error:
        warnings.warn(f"anatomical shapes are drawn anew: {error}", stacklevel=3)
        return TemplateBank.anatomical(shapes, side, seed)
