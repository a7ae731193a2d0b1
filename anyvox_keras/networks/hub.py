"""Published weights and presets from the Hugging Face hub."""

from pathlib import Path
from typing import Any

from anyvox_keras.errors import UserError
from anyvox_keras.extras import load_extra
from anyvox_keras.io.cache import cache_folder

REPOSITORY = "neeldey/anatomix"
HUB_PRESETS = ("anatomix", "anatomix-dev")


def hub_checkpoint(name: str) -> Path:
    """Return the checkpoint of a published network, downloading it once.

    A file `<name>.pth` that already lies in the cache folder is used without a download.

    Raises:
        UserError: If it can't be downloaded; the message says what to put where.
    """
    local = cache_folder() / f"{name}.pth"
    return local if local.is_file() else _download(name, local)


def hub_repository(address: str) -> Path:
    """Return the local copy of a preset repository `hf://owner/name`."""
    repository = address.removeprefix("hf://")
    hub = _hub()
    try:
        return Path(hub.snapshot_download(repository))
    except Exception as error:  # every transport has its own
        raise UserError(
            f"{address}: cannot be downloaded ({_line(error)}); download "
            f"https://huggingface.co/{repository} elsewhere and pass its folder"
        ) from error


def _download(name: str, local: Path) -> Path:
    url = f"https://huggingface.co/{REPOSITORY}/resolve/main/{name}.pth"
    advice = f"download {url} and put it at {local}"
    try:
        return Path(_hub().hf_hub_download(REPOSITORY, f"{name}.pth"))
    except UserError as error:
        raise UserError(f"preset {name}: {error}; or {advice}") from error
    except Exception as error:  # every transport has its own
        raise UserError(f"preset {name}: offline ({_line(error)}); {advice}") from error


def _hub() -> Any:
    return load_extra("huggingface_hub", "the hub")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
