"""Where things lie that can be made or fetched again."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return `$ANYVOX_CACHE`, or the system's place for caches: on Linux `~/.cache/anyvox_keras`.

    The folder need not exist.
    """
    chosen = os.environ.get("ANYVOX_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return platformdirs.user_cache_path("anyvox_keras", appauthor=False)
