"""What labels are called."""

import csv
import json
import os
import re
from pathlib import Path
from typing import Any

from anyvox_keras.errors import UserError

# a number, then a name: FreeSurfer's table, ITK-SNAP's (which quotes the name at the end), a list
_LINE = re.compile(r'^\s*(\d+)[\s:,=]+(?:.*"([^"]+)"|([^\s#,]+(?:[ ][A-Za-z][^\s#,]*)*))')


def load_label_names(path: str | os.PathLike[str]) -> dict[int, str]:
    """Read names of labels.

    Args:
        path: JSON (`{"1": "liver"}`, `{"liver": 1}`, or a `dataset.json` with `labels`); CSV or TSV
            with columns for the number (`index`, `label`, `number`, `id`) and the `name`, as BIDS
            has them; FreeSurfer's colour table; ITK-SNAP's label descriptions; or lines of a
            number and a name.

    Raises:
        UserError: The file is missing, or holds no names.

    Example:
        ```python
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "names.txt")
        >>> _ = path.write_text("1 liver")
        >>> load_label_names(path)
        {1: 'liver'}
        ```
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        names = _of_json(json.loads(text)) if path.suffix == ".json" else _of_text(text)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected names of labels ({error})") from error
    if not names:
        raise UserError(f"{path}: expected names of labels, received none")
    return names


def _of_json(content: Any) -> dict[int, str]:
    content = content.get("labels", content) if isinstance(content, dict) else {}
    pairs = [(k, v) if str(k).isdigit() else (v, k) for k, v in content.items()]
    return {int(number): str(name) for number, name in pairs if str(number).isdigit()}


def _of_text(text: str) -> dict[int, str]:
    lines = text.splitlines() or [""]
    for mark in ("\t", ","):
        columns = [column.strip().lower() for column in lines[0].split(mark)]
        numbers = [column for column in columns if column in ("index", "label", "number", "id")]
        if "name" in columns and numbers:
            rows = csv.DictReader(lines[1:], columns, delimiter=mark)
            return {int(row[numbers[0]]): row["name"].strip() for row in rows}
    found = (_LINE.match(line) for line in lines)
    return {int(m[1]): (m[2] or m[3]).strip() for m in found if m}
