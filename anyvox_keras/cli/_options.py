"""Options that several sub-commands share."""

import os
import shlex
import warnings
from typing import Any

import click

from anyvox_keras import io
from anyvox_keras.progress import note, tell

TEMPLATES = click.option(
    "--templates",
    default="geometric",
    show_default=True,
    metavar="geometric|anatomical|FOLDER",
    help="Where shapes come from: drawn, a bank file, or every mask of a folder of segmentations; "
    "several are separated by commas.",
)
WEIGHTS = click.option(
    "--weights",
    metavar="NAME|PATH",
    help="Network of the features: a preset's name or folder, the folder of a pretraining run, a "
    ".keras file or a checkpoint of the paper (.pth); else anyvox-base.",
)
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace existing outputs.")


def PROGRESS(command: Any) -> Any:  # noqa: N802 (an option, as the others are)
    """Add what says how a command tells what it does; `main` reads both."""
    quiet = "Draw no progress on the terminal."
    lines = "Tell progress, warnings and errors as JSON on stderr, an object per line."
    for flag, text in (("--json", lines), ("--quiet", quiet)):
        command = click.option(flag, is_flag=True, expose_value=False, help=text)(command)
    return command


PRECISION = click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="What the network computes in; the default is Keras's own.",
)

MEMORY = click.option(
    "--memory",
    type=click.FloatRange(0, min_open=True),
    metavar="GB",
    help="At most this much memory; what does not fit is computed in pieces.",
)


def _prefer_form(context: click.Context, _: Any, form: str | None) -> None:
    """Hold for this command: every image is read so."""
    context.meta["anyvox.form"] = form
    if form is not None:
        context.with_resource(io.prefer_form(form))


FORM = click.option(
    "--form",
    type=click.Choice(["sform", "qform"]),
    expose_value=False,
    callback=_prefer_form,
    help="Where images say to lie in two ways, go by this one; ITK's choice if not given.",
)

#: shapes of a bank that is drawn
DRAWN = 500


class Shard(click.ParamType):
    """`I/N` with 0 <= I < N."""

    name = "I/N"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """Parse, or fail with one line."""
        if isinstance(value, tuple):
            return value
        try:
            index, parts = (int(part) for part in value.split("/"))
        except ValueError:
            index, parts = -1, 0
        if not 0 <= index < parts:
            self.fail(f"expected I/N with 0 <= I < N, received {value}", param, ctx)
        return index, parts


SHARD = click.option(
    "--shard", type=Shard(), default="0/1", help="I/N: do the I-th of N parts, I from 0."
)


def command_line() -> str:
    """The command that is running, as one types it."""
    arguments = click.get_current_context().find_root().obj["arguments"]
    name = os.environ.get("KERAS_BACKEND")
    chosen = f"KERAS_BACKEND={name} " if name else ""
    return chosen + shlex.join(["anyvox", *arguments])


def introduce(*images: Any) -> None:
    """Say what was given, and refuse what is no image, before a framework is loaded for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # who reads the values says it
        for path in images:
            note(f"{path}: {io.load_reference(path, 'image').grid}")
    tell(f"loading {os.environ.get('KERAS_BACKEND') or 'the framework'}")


def set_precision(precision: str | None) -> None:
    """Make `--precision` Keras's policy for what is built from now on; weights stay float32."""
    if precision is None:
        return
    import keras

    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
