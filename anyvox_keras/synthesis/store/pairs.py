"""What both stores of synthetic pairs share."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.io.output import save_json

SETTINGS = "settings.json"


def pair_name(number: int) -> str:
    """Return the name of a pair: its number in six digits."""
    return f"{number:06d}"


def encode(views: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return views as uint8 truncated from 255 x, and labels as uint8.

    Raises:
        ValueError: other shapes than `(2, D, H, W)` and `(D, H, W)`, or labels beyond uint8.
    """
    views, labels = np.asarray(views), np.asarray(labels)
    if views.shape != (2, *labels.shape) or labels.ndim != 3:
        shapes = f"{views.shape} and {labels.shape}"
        raise ValueError(f"a pair must be (2, D, H, W) and (D, H, W). Received: {shapes}")
    if labels.min() < 0 or labels.max() > 255:
        raise ValueError(f"labels must lie in [0, 255]. Received: {labels.min()}..{labels.max()}")
    return (np.clip(views, 0, 1) * np.float32(255)).astype("uint8"), labels.astype("uint8")


def read_settings(folder: Path) -> Any:
    """Return the settings a folder was started with, or None."""
    try:
        return json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings to the folder."""
    save_json(folder / SETTINGS, settings, overwrite=True)


def unwritable(path: Path, error: Exception) -> UserError:
    """Make the error for a store that cannot be written, which says how to continue."""
    # a full disk comes as a UserError of `atomic`, with the system's own error as its cause
    reason = getattr(error.__cause__ or error, "strerror", None) or str(error)
    finished = "finished pairs are kept, run it again to go on"
    return UserError(f"{path}: cannot be written ({reason}); {finished}")
