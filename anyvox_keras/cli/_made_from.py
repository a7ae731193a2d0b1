"""What the results of a pair were made from: its files, by checksum, and its settings."""

import hashlib
import json
from pathlib import Path
from typing import Any

from anyvox_keras.errors import UserError

#: beside the results
MADE_FROM = ".made_from.json"
# how much a registration may take changes nothing of what it says
_NEUTRAL = ("memory",)


def note_made_from(pair: dict[str, Any], folder: Path) -> None:
    """Keep the files' checksums and the settings beside the results."""
    from anyvox_keras.io import save_json

    save_json(folder / MADE_FROM, _made_from(pair), overwrite=True)


def require_made_from(pair: dict[str, Any], folder: Path) -> None:
    """Refuse results of other files or settings; results without a note are taken as they are.

    Raises:
        UserError: naming what differs.
    """
    if not (folder / MADE_FROM).exists():
        return
    try:
        noted = json.loads((folder / MADE_FROM).read_text(encoding="utf-8"))
    except ValueError:
        noted = None
    now = _made_from(pair)
    noted = noted if isinstance(noted, dict) else {}
    other = sorted(name for name in {*noted, *now} if noted.get(name) != now.get(name))
    if other:
        raise UserError(
            f"the results were made with another {', '.join(other)}; pass --overwrite to make "
            "them anew, or give the pair another name"
        )


def _made_from(pair: dict[str, Any]) -> dict[str, Any]:
    """Checksums of files and whatever else is set, as JSON keeps it."""
    found = {}
    for name, value in pair.items():
        if name in _NEUTRAL or value in (None, False):
            continue
        if isinstance(value, Path) and value.is_file():
            with open(value, "rb") as file:
                value = hashlib.file_digest(file, "sha256").hexdigest()
        found[name] = json.loads(json.dumps(value, default=str))
    return found
