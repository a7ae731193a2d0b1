"""`anyvox info [FILE]`."""

import itertools
import json
import platform
from collections.abc import Iterator
from pathlib import Path

import click

PACKAGES = ("keras", "tensorflow", "torch", "jax", "numpy", "scipy", "nibabel", "h5py")


@click.command()
@click.argument("file", type=Path, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def info(file: Path | None, as_json: bool) -> None:
    """Show backend, device, versions and memory; or what FILE is, and what is odd about it.

    FILE is an image, a label map, a DICOM folder, a warp or another transform.
    """
    if file is not None:
        _say_file(file, as_json)
    elif as_json:
        click.echo(json.dumps(dict(itertools.chain(_machine(), _backend()))))
    else:
        for name, value in itertools.chain(_machine(), _backend()):
            _say(name, value)


def _say_file(file: Path, as_json: bool) -> None:
    from anyvox_keras.io import describe

    found = describe(file)
    if as_json:
        content = {"kind": found.kind, **dict(found.facts), "odd": found.odd}
        click.echo(json.dumps({"file": str(file), **content}, default=str))
        return
    click.echo(f"{file}: {found.kind}")
    for name, value in found.facts:
        _say(name, str(value))
    for line in found.odd:
        click.echo(f"! {line}")


def _machine() -> Iterator[tuple[str, str]]:
    """What is known at once."""
    from anyvox_keras.io.provenance import installed_version

    yield "anyvox_keras", installed_version("anyvox_keras", "not installed")
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    for name in PACKAGES:
        yield name, installed_version(name, "not installed")


def _backend() -> Iterator[tuple[str, str]]:
    """What the framework knows, which takes seconds to load."""
    import keras

    from anyvox_keras import backend
    from anyvox_keras.backend.device import machine_memory_mb, processors

    yield "backend", keras.backend.backend()
    yield "device", backend.device_name()
    yield "precision", keras.config.dtype_policy().name
    yield (
        "bfloat16",
        (
            "computed in by this device"
            if backend.has_bfloat16()
            else "no arithmetic on this device"
        ),
    )
    yield "processors", str(processors())
    total, available = (mb / 1024 for mb in machine_memory_mb())
    yield "memory", f"{total:.1f} GB, {available:.1f} GB available"
    yield "peak so far", f"{backend.peak_memory_mb():.0f} MB"


def _say(name: str, value: str) -> None:
    click.echo(f"{click.style(f'{name:<24}', dim=True)}{value}")
