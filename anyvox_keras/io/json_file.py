"""Results as JSON that any reader accepts."""

import json
import math
import os
from typing import Any

import numpy as np

from anyvox_keras.io.output import atomic, check_output


def save_json(path: str | os.PathLike[str], content: Any, overwrite: bool = False) -> None:
    """Write a tree of dictionaries, lists and numbers, indented; the file appears whole.

    NumPy scalars and arrays become plain numbers and lists. NaN and infinity, which JSON lacks,
    become `null`.

    Raises:
        UserError: the file exists and `overwrite` is false, or its folder cannot be written.

    Example:
        ```python
        >>> import tempfile
        >>> save_json(tempfile.mkdtemp() + "/metrics.json", {"dice": {1: np.float32(0.5)}})
        ```
    """
    text = json.dumps(_plain(content), indent=2, allow_nan=False)
    with atomic(check_output(path, overwrite)) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
