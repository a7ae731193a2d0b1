"""Packages that come with an extra, and what is said where one is missing."""

import importlib
from types import ModuleType

from anyvox_keras.errors import UserError

#: package -> the extra of `pip install "anyvox_keras[EXTRA]"` that brings it
EXTRAS = {
    "tensorflow": "tensorflow",
    "torch": "torch",
    "jax": "jax",
    "voxelmorph": "voxelmorph",
    "neurite": "voxelmorph",
    "huggingface_hub": "hub",
    "safetensors.numpy": "hub",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "nilearn": "demo",
    "SimpleITK": "images",
    "vtkmodules": "meshes",
    "distributed": "cluster",
}


def load_extra(package: str, purpose: str) -> ModuleType:
    """Import a package of `EXTRAS`, or say in one line which extra brings it.

    Args:
        package: The package's name.
        purpose: What needs it, for the message.

    Raises:
        UserError: If it is not installed.

    Example:
        ```python


        torch = load_extra("torch", "a PyTorch checkpoint")
        ```
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.split(".")[0]:
            raise
        raise UserError(missing(package, purpose)) from error


def missing(package: str, purpose: str) -> str:
    """Say in one line how to install a package of `EXTRAS`."""
    install = f'pip install "anyvox_keras[{EXTRAS[package]}]"'
    return f"{purpose} needs {package.split('.')[0]}, which is not installed: {install}"
