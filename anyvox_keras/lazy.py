"""Packages whose public names are loaded when they are used."""

import ast
import importlib
import sys
from types import ModuleType
from typing import Any


def lazy(package: str) -> None:
    """Let a package load each of its public names on first use.

    The names are those that its `__init__.py` imports under `if TYPE_CHECKING:`. They are written
    once: type checkers and editors follow these imports, and this function reads them. So
    `anyvox pretrain --help` reaches the settings of a run without loading Keras.

    Args:
        package: The package's `__name__`.

    Example:
        ```python
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from anyvox_keras.networks.unet import UNet as UNet

        lazy("anyvox_keras.networks")  # in the package itself: lazy(__name__)
        ```
    """
    module = sys.modules[package]
    homes = _homes(module)
    module.__dict__.update(_homes=homes, __all__=sorted(homes))
    module.__class__ = _LazyPackage


class _LazyPackage(ModuleType):
    """A package of which `lazy` knows where each public name is defined."""

    _homes: dict[str, str]

    def __getattr__(self, name: str) -> Any:
        """Load a public name, and keep it."""
        home = self._homes.get(name)
        if home is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if home == self.__name__:
            return importlib.import_module(f"{home}.{name}")
        self.__dict__[name] = found = getattr(importlib.import_module(home), name)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep the file `register.py`, once imported, from hiding the function `register`."""
        if isinstance(value, ModuleType) and self._homes.get(name, self.__name__) != self.__name__:
            return
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._homes})


def _homes(module: ModuleType) -> dict[str, str]:
    """Map each name that is imported under `if TYPE_CHECKING:` to the module it comes from."""
    source = module.__spec__.loader.get_source(module.__name__)  # type: ignore[union-attr]
    blocks = (
        node.body
        for node in ast.parse(source).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {
        alias.name: str(node.module)
        for block in blocks
        for node in block
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
