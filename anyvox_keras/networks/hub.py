"""Networks on the Hugging Face hub: published checkpoints, preset repositories, uploads."""

import os
from pathlib import Path
from typing import Any

from anyvox_keras.errors import UserError
from anyvox_keras.extras import load_extra
from anyvox_keras.io.output import cache_folder

SCHEME = "hf://"
REPOSITORY = "neeldey/anatomix"
#: published checkpoints by name
HUB_PRESETS = ("anatomix", "anatomix-dev", "anatomix-dev-vit")


def hub_checkpoint(name: str) -> Path:
    """Return the checkpoint of a published network, downloading it once.

    A file `<name>.pth` that already lies in the cache folder is used without a download.

    Raises:
        UserError: If it can't be downloaded; the message says what to put where.
    """
    local = cache_folder() / f"{name}.pth"
    if local.is_file():
        return local
    url = f"https://huggingface.co/{REPOSITORY}/resolve/main/{name}.pth"
    advice = f"download {url} and put it at {local}"
    try:
        return Path(_hub().hf_hub_download(REPOSITORY, f"{name}.pth"))
    except UserError as error:
        raise UserError(f"preset {name}: {error}; or {advice}") from error
    except Exception as error:  # every transport has its own
        raise UserError(f"preset {name}: offline ({_line(error)}); {advice}") from error


def hub_folder(address: str) -> Path:
    """Return the local copy of a preset repository, downloading what is not here yet.

    Args:
        address: `hf://owner/name`, or `hf://owner/name@revision` with a branch, tag or commit.

    Raises:
        UserError: If it can't be downloaded, and no copy lies in the hub's cache.
    """
    repository, revision = _parts(address)
    hub = _hub()
    try:
        return Path(hub.snapshot_download(repository, revision=revision))
    except Exception as error:  # every transport has its own
        raise UserError(
            f"{address}: cannot be downloaded ({_line(error)}); download "
            f"https://huggingface.co/{repository} elsewhere and pass its folder"
        ) from error


def upload_preset(
    address: str, folder: str | os.PathLike[str], message: str | None = None, private: bool = False
) -> str:
    """Put a preset folder on the hub, in a repository that is made if there is none.

    The token is that of `hf auth login`, or `HF_TOKEN`.

    Args:
        address: `hf://owner/name`, or `hf://owner/name@branch`.
        folder: What `save_to_preset` wrote; of its files those of a preset are sent.
        message: Message of the commit; None names the package.
        private: Whether a new repository is private.

    Returns:
        The address with the new commit as its revision: what loads exactly this.

    Raises:
        UserError: If the folder holds no preset, or the hub refuses or can't be reached.

    Example:
        ```python
        import anyvox_keras as avx
        from anyvox_keras.networks import upload_preset

        avx.UNet(width=4, levels=2).save_to_preset("mine", {"licence": "mit"})
        try:
            address = upload_preset("hf://me/mine", "mine")
        except avx.UserError as error:
            print(error)  # offline, or no token
        ```
    """
    folder, (repository, revision) = Path(folder), _parts(address)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: not a preset folder; it lacks config.json")
    api = _hub().HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        made = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            revision=revision,
            commit_message=message or "Upload a preset of anyvox_keras",
            allow_patterns=["*.json", "README.md", "model.*"],
        )
    except Exception as error:  # every transport has its own
        raise UserError(f"{address}: cannot be uploaded ({_line(error)})") from error
    return f"{SCHEME}{repository}@{made.oid}"


def _parts(address: str) -> tuple[str, str | None]:
    repository, _, revision = address.removeprefix(SCHEME).partition("@")
    if not address.startswith(SCHEME) or repository.count("/") != 1:
        raise UserError(f"expected hf://owner/name or hf://owner/name@revision, received {address}")
    return repository, revision or None


def _hub() -> Any:
    return load_extra("huggingface_hub", "the hub")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
