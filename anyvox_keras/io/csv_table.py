"""Tables that users write."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from anyvox_keras.errors import UserError


class Table(NamedTuple):
    """A CSV file as it stands.

    Attributes:
        columns: The header's names, without spaces around.
        rows: Where each row stands (file and line, for messages), and its cells.
        delimiter: What splits the columns.
    """

    columns: tuple[str, ...]
    rows: list[tuple[str, list[str]]]
    delimiter: str


def read_csv(path: str | os.PathLike[str], what: str) -> Table:
    """Read a header and rows split by commas, semicolons or tabs, with a byte order mark or not.

    Rows without a value are passed over, as spreadsheets leave them at the end.

    Args:
        path: The file.
        what: What a row is, plural, for messages.

    Raises:
        UserError: If it is no such file.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        header = next((line for line in text.splitlines() if line.strip()), "")
        delimiter = max(",;\t", key=header.count)
        lines = csv.reader(io.StringIO(text, ""), delimiter=delimiter, skipinitialspace=True)
        rows = [
            (f"{path}, line {lines.line_num}", row) for row in lines if any(map(str.strip, row))
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a CSV file of {what} ({error})") from error
    columns = tuple(name.strip() for name in rows[0][1]) if rows else ()
    return Table(columns, rows[1:], delimiter)


def read_table(
    path: str | os.PathLike[str], of: str, columns: Sequence[str] | None = None
) -> list[tuple[str, dict[str, str]]]:
    r"""Read the rows of a CSV file with a header, see `read_csv`.

    Args:
        path: The file.
        of: What a row is, for messages.
        columns: The known ones; None allows any.

    Returns:
        For each row where it stands (file and line, for messages) and its values that are not
        empty, by column, without spaces around.

    Raises:
        UserError: If the file can't be read, has no row, a row longer than the header, two
            columns of one name, or an unknown column, be it empty.

    Example:
        ```python
        from pathlib import Path

        from anyvox_keras.io import read_table

        Path("scans.csv").write_text("image,mask\nt1.nii.gz,\n")
        read_table(Path("scans.csv"), "scan")  # [("scans.csv, line 2", {"image": "t1.nii.gz"})]
        ```
    """
    table = read_csv(path, f"{of}s")
    if not table.rows:
        raise UserError(f"{path}: expected a CSV file with at least one {of}, received none")
    for where, row in table.rows:
        if len(row) > len(table.columns):
            raise UserError(f"{where}: expected a value per column, received more")
    require_once(path, table.columns)
    where = table.rows[0][0]
    if columns is not None and (unknown := [one for one in table.columns if one not in columns]):
        raise UserError(f"{where}: expected columns {', '.join(columns)}, received {unknown[0]}")
    return [(where, _given(table.columns, row)) for where, row in table.rows]


def require_once(path: str | os.PathLike[str], columns: Sequence[str]) -> None:
    """Refuse two columns of one name, of which one would be passed over.

    Args:
        path: Of the table, for the message.
        columns: The names; columns without one may repeat, as spreadsheets leave them.

    Raises:
        UserError: Naming the first that repeats.
    """
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise UserError(f"{path}: expected columns of different names, received {twice[0]} twice")


def _given(columns: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    cells = zip(columns, map(str.strip, row), strict=False)
    return {name: text for name, text in cells if text}
