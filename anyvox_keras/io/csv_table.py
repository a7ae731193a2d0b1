"""Tables that users write."""

import csv
from collections.abc import Sequence
from pathlib import Path

from anyvox_keras.errors import UserError


def read_table(
    path: Path, of: str, columns: Sequence[str] | None = None
) -> list[tuple[str, dict[str, str]]]:
    r"""Read the rows of a CSV file with a header.

    Args:
        path: The file.
        of: What a row is, for messages.
        columns: The known ones; None lets all be.

    Returns:
        For each row where it stands (file and line, for messages) and its values that are not
        empty, by column, without spaces around.

    Raises:
        UserError: A file that can't be read, has no row, a row longer than the header, or an
            unknown column, be it empty.

    Example:
        ```python
        from pathlib import Path

        from anyvox_keras.io import read_table

        Path("scans.csv").write_text("image,mask\nt1.nii.gz,\n")
        read_table(Path("scans.csv"), "scan")  # [("scans.csv, line 2", {"image": "t1.nii.gz"})]
        ```
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader]  # blank lines are passed over
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a CSV file of {of}s ({error})") from error
    if not rows:
        raise UserError(f"{path}: expected a CSV file with at least one {of}, received none")
    return [_row(f"{path}, line {line}", row, columns) for line, row in rows]


def _row(
    where: str, row: dict[str | None, str | None], columns: Sequence[str] | None
) -> tuple[str, dict[str, str]]:
    if None in row:
        raise UserError(f"{where}: expected a value a column, received more")
    given = {str(name).strip(): (text or "").strip() for name, text in row.items()}
    if columns is not None and (unknown := [name for name in given if name not in columns]):
        raise UserError(f"{where}: expected columns {', '.join(columns)}, received {unknown[0]}")
    return where, {name: text for name, text in given.items() if text}
