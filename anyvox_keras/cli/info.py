"""`anyvox info`."""

import platform

import click

PACKAGES = ("keras", "tensorflow", "torch", "jax", "numpy", "scipy", "nibabel", "h5py")


@click.command()
def info() -> None:
    """Show backend, device, versions and memory."""
    import keras
    from rich.console import Console
    from rich.table import Table

    from anyvox_keras import backend
    from anyvox_keras.backend.device import machine_memory_mb, processors
    from anyvox_keras.io.provenance import installed_version

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("anyvox_keras", installed_version("anyvox_keras", "not installed"))
    table.add_row("backend", keras.backend.backend())
    table.add_row("device", backend.device_name())
    table.add_row("precision", keras.config.dtype_policy().name)
    narrow = (
        "computed in by this device" if backend.has_bfloat16() else "no arithmetic on this device"
    )
    table.add_row("bfloat16", narrow)
    table.add_row("python", f"{platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        table.add_row(name, installed_version(name, "not installed"))
    table.add_row("processors", str(processors()))
    total, available = (mb / 1024 for mb in machine_memory_mb())
    table.add_row("memory", f"{total:.1f} GB, {available:.1f} GB available")
    table.add_row("peak so far", f"{backend.peak_memory_mb():.0f} MB")
    Console(highlight=False, soft_wrap=True).print(table)
