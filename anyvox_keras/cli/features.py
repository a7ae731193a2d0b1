"""`anyvox features`."""

from pathlib import Path

import click

from anyvox_keras.cli._options import (
    FORM,
    MEMORY,
    OVERWRITE,
    PRECISION,
    QUIET,
    WEIGHTS,
    introduce,
    set_precision,
)


@click.command()
@click.argument("image", type=Path)
@click.argument("out", type=Path)
@WEIGHTS
@click.option("--mask", type=Path, help="Features are zero outside.")
@FORM
@MEMORY
@PRECISION
@OVERWRITE
@QUIET
def features(
    image: Path,
    out: Path,
    weights: str | None,
    mask: Path | None,
    memory: float | None,
    precision: str | None,
    overwrite: bool,
) -> None:
    """Compute the network's features of IMAGE; OUT is a 4D NIfTI (X, Y, Z, C), float32."""
    from anyvox_keras.io import check_output, load_mask, load_volume, save_volume
    from anyvox_keras.progress import tell

    check_output(out, overwrite, (image, mask))
    introduce(image)
    volume = load_volume(image)
    inside = None if mask is None else load_mask(mask, volume).array
    if volume.finite is not None:
        inside = volume.finite if inside is None else inside & volume.finite
    set_precision(precision)
    from anyvox_keras.features import FeatureExtractor
    from anyvox_keras.networks import DEFAULT

    extractor = FeatureExtractor.from_preset(weights or DEFAULT)
    if memory is not None:
        # Python, the framework and its libraries take the first GB
        extractor = extractor.within(memory - 1, volume.shape)
    tell("features")
    array = extractor(volume.array)
    if inside is not None:
        array = array * inside[..., None]
    save_volume(out, array, volume, overwrite=True)
    click.echo(f"{out}: {array.shape[-1]} features per voxel, {volume.shape} voxels")
