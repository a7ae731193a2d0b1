"""What results were made with: versions, backend, files by their checksums."""

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PACKAGES = ("anyvox_keras", "keras", "numpy", "nibabel")


def provenance_of(inputs: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What `provenance` of metrics.json holds: versions, backend, and checksums of files.

    Args:
        inputs: Name to path; what is no file is left out.
        **more: Whatever else is known, such as the command.

    Example:
        ```python
        from anyvox_keras.io import provenance_of

        assert provenance_of({})["inputs"] == {}
        ```
    """
    import keras

    name = keras.backend.backend()
    packages = (*_PACKAGES, name)
    versions = {"python": platform.python_version()}
    versions |= {package: installed_version(package) for package in packages}
    files = {str(path) for path in inputs.values() if path is not None and Path(path).is_file()}
    return {
        "version": versions["anyvox_keras"],
        "backend": name,
        **more,
        "inputs": {path: sha256_of(path) for path in sorted(files)},
        "versions": versions,
    }


def installed_version(package: str, absent: str = "unknown") -> str:
    """Return the version of a package, or `absent`; TensorFlow for CPUs has a name of its own."""
    for name in (package, f"{package}-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return absent


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
