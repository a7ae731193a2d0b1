"""The page of many pairs: sorted, filtered, each with its picture and a link to its own page."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from anyvox_keras import pictures
from anyvox_keras.cli._options import command_line

COLUMNS = {
    "mean_dice_before": "Dice before", "mean_dice_after": "Dice after",
    "mean_hd95_after": "HD95 after, mm", "tre_mm_before": "TRE before, mm",
    "tre_mm_after": "TRE after, mm", "folds_percent": "folds, %", "seconds": "seconds",
}  # fmt: skip
# pixels
_HEIGHT = 200
# of a report's picture: the fixed, the moving and the moved image
_IMAGES = 3 / 7


def save_batch_page(out: Path, judged: Sequence[tuple[dict[str, Any], Path]]) -> Path:
    """Write `report.html` of a batch.

    Args:
        out: Folder of the batch.
        judged: Row of `metrics.csv` (see `read_result`) and folder of each pair, worst first.
    """
    from anyvox_keras.io import save_page

    # no column that says nothing of any pair
    shown = [key for key in COLUMNS if any(row[key] is not None for row, _ in judged)]
    rows = [
        (_link(out, folder), row["verdict"] or "failed", row["reasons"],
         *(row[key] for key in shown))
        for row, folder in judged
    ]  # fmt: skip
    found = [row["verdict"] or "failed" for row, _ in judged]
    counts = {name: found.count(name) for name in ("failed", "FAIL", "WARN", "PASS")}
    summary = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    columns = ("pair", "verdict", "reasons", *(COLUMNS[key] for key in shown))
    table = pictures.Table("Pairs, worst first", columns, rows)
    title = f"{len(rows)} pairs in {out.name}"
    page = pictures.Page(title, summary, tables=[table], command=command_line())
    save_page(out / "report.html", page.html())
    return out / "report.html"


def _link(out: Path, folder: Path) -> Any:
    """A pair's name, its picture, and the way to its page, as far as they are there."""
    page, picture = folder / "report.html", folder / "report.png"
    if not page.exists():
        return folder.name
    seen = _thumbnail(picture) if picture.exists() else None
    return pictures.Link(folder.name, page.relative_to(out).as_posix(), seen)


def _thumbnail(path: Path) -> bytes:
    """The images of a report's picture, small."""
    from PIL import Image

    file = BytesIO()
    with Image.open(path) as image:
        part = image.convert("RGB").crop((0, 0, round(image.width * _IMAGES), image.height))
        part.thumbnail((10 * _HEIGHT, _HEIGHT))
        part.save(file, "webp", quality=70)
    return file.getvalue()
