"""The command line: `anyvox`, one module a sub-command."""

from anyvox_keras.cli.main import main

__all__ = ["main"]
