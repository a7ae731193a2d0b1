"""`anyvox features`."""

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from anyvox_keras import io
from anyvox_keras.cli import _options as shared
from anyvox_keras.cli._workers import do_all, worker_options
from anyvox_keras.errors import UserError
from anyvox_keras.progress import tell
from anyvox_keras.shards import part_of


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
@shared.SHARD
@worker_options
@shared.PROGRESS
def features(
    image: Path,
    out: Path,
    weights: str | None,
    mask: Path | None,
    report: Path | None,
    memory: float | None,
    precision: str | None,
    overwrite: bool,
    shard: tuple[int, int],
) -> int:
    """Compute the network's features of IMAGE; OUT is a 4D NIfTI (X, Y, Z, C), float32.

    Where IMAGE is a folder of images, so is OUT, with a file for each.
    """
    if image.is_dir() and not io.is_series(image):
        tasks = _tasks_of_folder(image, out, mask, report)
    else:
        tasks = [FeaturesTask(image, out, mask, report)]
    inputs = [path for task in tasks for path in (task.image, task.mask)]
    tasks = part_of(tasks, shard)
    for task in tasks:
        for target in (task.out, task.report):
            if target is not None:
                io.check_output(target, overwrite, inputs)
    return 1 if do_all(FeaturesJob(weights, memory, precision), tasks, "images", click.echo) else 0


@dataclass(frozen=True)
class FeaturesTask:
    """An image with its mask, and where its features and their page go."""

    image: Path
    out: Path
    mask: Path | None = None
    report: Path | None = None

    def __str__(self) -> str:
        """Name the image."""
        return str(self.image)


def _tasks_of_folder(
    folder: Path, out: Path, mask: Path | None, report: Path | None
) -> list[FeaturesTask]:
    """Name the files of a folder's images after them.

    Raises:
        UserError: A mask or a page, which belong to one image; or names that differ by nothing.
    """
    for name, path in (("mask", mask), ("report", report)):
        if path is not None:
            raise UserError(f"--{name}: expected one image with it, received the folder {folder}")
    images = io.list_images([folder])
    tasks = [FeaturesTask(one, out / f"{io.case_name(one)}.nii.gz") for one in images]
    for task, other in itertools.pairwise(tasks):
        if task.out == other.out:
            raise UserError(f"{other.image}: its result {other.out.name} is that of {task} too")
    return tasks


@dataclass(frozen=True)
class FeaturesJob:
    """Computes features of images by one network, which is loaded once."""

    weights: str | None
    memory: float | None
    precision: str | None

    @functools.cached_property
    def _extractor(self) -> Any:
        shared.set_precision(self.precision)
        from anyvox_keras.features import FeatureExtractor
        from anyvox_keras.networks import DEFAULT

        return FeatureExtractor.from_preset(self.weights or DEFAULT)

    def __call__(self, task: FeaturesTask) -> str:
        """Write the files of an image; return a line about them."""
        shared.introduce(task.image)
        volume = io.load_volume(task.image)
        inside = None if task.mask is None else io.load_mask(task.mask, volume).array
        if volume.finite is not None:
            inside = volume.finite if inside is None else inside & volume.finite
        extractor = self._extractor
        if self.memory is not None:
            # Python, the framework and its libraries take the first GB
            extractor = extractor.within(self.memory - 1, volume.shape)
        tell("features")
        array = extractor(volume.array)
        if inside is not None:
            array = array * inside[..., None]
        io.save_volume(task.out, array, volume, overwrite=True)
        if task.report is not None:
            tell("report")
            _save_report(
                task.report, volume, array, inside, {"image": task.image, "mask": task.mask}
            )
        return f"{task.out}: {array.shape[-1]} features per voxel, {volume.shape} voxels"


def _save_report(
    path: Path, volume: Any, features: Any, inside: Any, inputs: dict[str, Path | None]
) -> None:
    """Write a page of the image and three principal components of its features."""
    from anyvox_keras.pictures import Page, Viewer, feature_pca, feature_picture, made_with_tables

    colours = feature_pca([features], None if inside is None else [inside])[0]
    figure = feature_picture([volume.array], [features], volume.grid, masks=[inside])
    page = Page(
        f"Features of {Path(volume.name).name}",
        f"{features.shape[-1]} features per voxel; colours are their three principal components",
        tables=list(made_with_tables(io.provenance_of(inputs))),
        viewer=Viewer(volume.grid, {"image": volume.array}, colours={"features": colours}),
        picture=figure,
        command=shared.command_line(),
    )
    io.save_page(path, page.html())
