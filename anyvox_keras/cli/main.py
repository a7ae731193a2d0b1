"""The `anyvox` command."""

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from anyvox_keras.cli._live_line import complain, shown, write_json_line
from anyvox_keras.cli._quiet import quiet
from anyvox_keras.errors import UserError, one_line
from anyvox_keras.extras import EXTRAS, missing

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
    "transform": "Convert, join and invert transforms.",
    "convert": "Turn a PyTorch checkpoint into a preset folder, or back.",
    "info": "Show backend, device, versions and memory; or what a file is.",
}
#: exit codes: a user's mistake, and Ctrl-C as shells count it
MISTAKE, INTERRUPTED = 2, 130
BACKENDS = ("tensorflow", "torch", "jax")
HELP = {"-h", "--help", "--version"}


class Commands(click.Group):
    """A group that answers an unknown command with the nearest one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names."""
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-"):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            raise click.UsageError(f"no such command: {name}; {hint}", ctx)
        return super().resolve_command(ctx, args)


class LazyCommands(Commands):
    """A group whose commands are loaded when they run: help answers without loading Keras.

    Args:
        about: Name and one line of help of each command; the module of that name, beside this
            one, holds it.
    """

    def __init__(self, *args: object, about: dict[str, str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.about = about

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.about)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.about:
            return None
        command: click.Command = getattr(importlib.import_module(f"{__package__}.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.about.items()))


@click.group(
    cls=LazyCommands, about=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="anyvox_keras", message="%(package)s %(version)s")
@click.option("--traceback", is_flag=True, help="Show where an error came from.")
@click.pass_context
def anyvox(context: click.Context, traceback: bool) -> None:
    """Pretrain 3D networks on endless synthetic shapes; register and segment real volumes.

    The backend is Keras's own choice: KERAS_BACKEND=tensorflow, torch or jax.
    """
    context.obj["traceback"] = traceback


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    A user's mistake gives one line on stderr, `anyvox: error: ...`, and 2. With `--json` the last
    line on stderr holds the exit code, and the error if there is one.

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
    with quiet(), shown(arguments):
        code, error = _run(arguments)
        if "--json" in arguments:
            write_json_line(exit=code, **({"error": one_line(error)} if error else {}))
        elif error:
            complain("error", error)
        return code


def _run(arguments: list[str]) -> tuple[int, str]:
    """Run a command; return its exit code and what was wrong, nothing if all went well."""
    try:
        if not HELP & set(arguments):
            _check_backend()
        code = anyvox.main(
            args=arguments,
            prog_name="anyvox",
            standalone_mode=False,
            obj={"arguments": arguments},
        )
        return (code if isinstance(code, int) else 0), ""
    except SystemExit as end:  # what was wrong has been said
        return (end.code if isinstance(end.code, int) else 1), ""
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED, "interrupted"
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code, ""
    except click.ClickException as error:
        return MISTAKE, error.format_message()
    except ModuleNotFoundError as error:
        return MISTAKE, _missing(error)
    # UserError is a ValueError; a backend of keras.json without code here is an ImportError
    except (ValueError, OSError, ImportError) as error:
        if "--traceback" in arguments:
            traceback.print_exc()
        return MISTAKE, str(error) or type(error).__name__


def _check_backend() -> None:
    """Refuse a backend that Keras knows, or does not, and this package has no code for."""
    name = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if name not in BACKENDS:
        raise UserError(f"KERAS_BACKEND: expected one of {', '.join(BACKENDS)}, received {name}")


def _missing(error: ModuleNotFoundError) -> str:
    """Say which extra brings a package that is not installed; anything else is a bug."""
    name = error.name or ""
    if name not in EXTRAS:
        raise error
    if name not in BACKENDS:
        return missing(name, "this command")
    backend = os.environ.get("KERAS_BACKEND", name)
    return f"{missing(name, f'the backend {backend}')}, or choose another with KERAS_BACKEND"
