"""`anyvox features`."""

from pathlib import Path
from typing import Any

import click

from anyvox_keras.cli import _options as shared


@click.command()
@click.argument("image", type=Path)
@click.argument("out", type=Path)
@shared.WEIGHTS
@click.option("--mask", type=Path, help="Features are zero outside.")
@click.option(
    "--report", type=Path, metavar="FILE.html", help="A page that shows image and features, too."
)
@shared.FORM
@shared.MEMORY
@shared.PRECISION
@shared.OVERWRITE
@shared.QUIET
def features(
    image: Path,
    out: Path,
    weights: str | None,
    mask: Path | None,
    report: Path | None,
    memory: float | None,
    precision: str | None,
    overwrite: bool,
) -> None:
    """Compute the network's features of IMAGE; OUT is a 4D NIfTI (X, Y, Z, C), float32."""
    from anyvox_keras.io import check_output, load_mask, load_volume, save_volume
    from anyvox_keras.progress import tell

    check_output(out, overwrite, (image, mask))
    if report is not None:
        check_output(report, overwrite, (image, mask))
    shared.introduce(image)
    volume = load_volume(image)
    inside = None if mask is None else load_mask(mask, volume).array
    if volume.finite is not None:
        inside = volume.finite if inside is None else inside & volume.finite
    shared.set_precision(precision)
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
    if report is not None:
        tell("report")
        _save_report(report, volume, array, inside, {"image": image, "mask": mask})
    click.echo(f"{out}: {array.shape[-1]} features per voxel, {volume.shape} voxels")


def _save_report(
    path: Path, volume: Any, features: Any, inside: Any, inputs: dict[str, Path | None]
) -> None:
    """Write a page of the image and three principal components of its features."""
    from anyvox_keras.io import provenance_of, save_page
    from anyvox_keras.pictures import Page, Viewer, feature_pca, feature_picture, made_with_tables

    colours = feature_pca([features], None if inside is None else [inside])[0]
    figure = feature_picture([volume.array], [features], volume.grid, masks=[inside])
    page = Page(
        f"Features of {Path(volume.name).name}",
        f"{features.shape[-1]} features per voxel; colours are their three principal components",
        tables=list(made_with_tables(provenance_of(inputs))),
        viewer=Viewer(volume.grid, {"image": volume.array}, colours={"features": colours}),
        picture=figure,
        command=shared.command_line(),
    )
    save_page(path, page.html())
