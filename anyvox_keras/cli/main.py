"""The `anyvox` command."""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from anyvox_keras.cli._quiet import quiet

#: sub-command -> its one line of help; the module of that name holds the command
COMMANDS = {
    "demo": "Pretrain a small network, register a real pair, draw what happened.",
    "synthesize": "Write synthetic training pairs.",
    "pretrain": "Pretrain a network on synthetic pairs.",
    "features": "Compute the network's features of an image.",
    "register": "Register a moving image to a fixed one.",
    "voxelmorph": "Train a network that registers in one pass; register with it.",
    "segment": "Train a segmentation on a few labelled scans; predict; evaluate.",
    "apply": "Warp images, labels or points with a saved warp.",
    "convert": "Turn a PyTorch checkpoint into a preset folder, or back.",
    "info": "Show backend, device, versions and memory.",
}
#: exit codes: a user's mistake, and Ctrl-C as shells count it
MISTAKE, INTERRUPTED = 2, 130


class _Lazy(click.Group):
    """Load a sub-command's module when it runs: help answers without loading Keras."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"anyvox_keras.cli.{name}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="anyvox_keras", message="%(package)s %(version)s")
@click.option("--traceback", is_flag=True, help="Show where an error came from.")
@click.pass_context
def anyvox(context: click.Context, traceback: bool) -> None:
    """Pretrain 3D networks on endless synthetic shapes; register and segment real volumes.

    The backend is Keras's own choice: KERAS_BACKEND=tensorflow, torch or jax.
    """
    context.obj = {"traceback": traceback}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    A user's mistake gives one line on stderr, `anyvox: error: ...`, and 2.

    Args:
        argv: the arguments after the program's name; the default is the process's own.

    Example:
        ```python
        >>> main(["--version"])
        anyvox_keras ...
        0
        ```
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # ANSI codes and wrapped lines are for people, not for files
    with quiet():
        try:
            code = anyvox.main(args=arguments, prog_name="anyvox", standalone_mode=False)
            return code if isinstance(code, int) else 0
        except (KeyboardInterrupt, click.Abort):
            return _fail("interrupted", INTERRUPTED)
        except click.ClickException as error:
            return _fail(error.format_message(), MISTAKE)
        except ModuleNotFoundError as error:
            return _fail(_missing(error), MISTAKE)
        except (ValueError, OSError) as error:  # UserError is a ValueError
            if "--traceback" in arguments:
                traceback.print_exc()
            return _fail(str(error) or type(error).__name__, MISTAKE)


def _fail(message: str, code: int) -> int:
    """Print one line, whatever line breaks the message has."""
    click.echo(f"anyvox: error: {' '.join(message.split())}", err=True)
    return code


def _missing(error: ModuleNotFoundError) -> str:
    """Say which extra brings a framework that is not installed; anything else is a bug."""
    if error.name not in ("tensorflow", "torch", "jax"):
        raise error
    backend = os.environ.get("KERAS_BACKEND", error.name)
    return (
        f"the backend {backend} needs {error.name}, which is not installed; "
        f'pip install "anyvox_keras[{error.name}]", or choose another with KERAS_BACKEND'
    )
