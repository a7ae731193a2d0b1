"""`anyvox segment check|train|preset|predict|evaluate`."""

import contextlib
import functools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from anyvox_keras import io, segmentation
from anyvox_keras.cli import _segment_pages as pages
from anyvox_keras.cli._devices import (
    DEVICES,
    devices_of,
    needs_processes,
    one_voice,
    run_in_processes,
)
from anyvox_keras.cli._options import FORM, OVERWRITE, PROGRESS, SHARD
from anyvox_keras.cli._run_options import given_settings, is_paper, run_options, settle, train_run
from anyvox_keras.cli._workers import do_all, worker_options
from anyvox_keras.cli.main import Commands
from anyvox_keras.errors import UserError
from anyvox_keras.progress import counted, note, tell
from anyvox_keras.segmentation.segmentation_settings import SegmentationSettings
from anyvox_keras.shards import part_of

#: settings by which networks see scans alike
SEEN = ("crop", "spacing", "scaling", "window")
#: table of how large the structures of all cases are
VOLUMES = "volumes.csv"
#: seconds to wait for another shard that adds to it
SHARDS_WAIT = 60.0
SHOWN = ("loss", "dice", "val_loss", "val_dice", "pairs_per_second")


@click.group(cls=Commands)
def segment() -> None:
    """Train a segmentation on one to a few labelled scans; use it; measure it."""


@segment.command()
@click.option("--folds", type=int, help="Train so many runs, OUT/fold_1 ..., for an ensemble.")
@run_options(SegmentationSettings)
@DEVICES
@one_voice()
def train(
    out: Path,
    config: Path | None,
    resume: bool,
    overwrite: bool,
    folds: int | None,
    devices: int | None,
    **flags: Any,
) -> int:
    """Train on the cases of a folder as the Decathlon, nnU-Net or BIDS derivatives lay it out.

    With --folds each of several runs validates on its own part of the cases and learns from the
    others, in an equal share of the minutes; predict takes OUT for their ensemble. A run killed at
    any moment goes on with --resume, with another number of devices too.
    """
    began = time.time()
    given = given_settings(SegmentationSettings, config, flags)
    count = devices_of(devices)
    if needs_processes(count):
        return run_in_processes(count)
    parts: list[tuple[Path, dict[str, Any], Any]] = [(out, given, None)]
    with _on_devices(count):
        if folds is not None:
            parts = _folds(out, given, folds)
        for folder, own, dataset in parts:
            settings = settle(SegmentationSettings, folder, own, resume, overwrite)
            if settings.synthetic_from is None:
                settings.require("data")
            replaces = overwrite and not resume
            run = segmentation.SegmentationRun(folder, settings, dataset, replaces, count)
            train_run(run, SHOWN, began, is_paper(config))
            began = time.time()
    click.echo(f"{out}: use it with anyvox segment predict --run {out}")
    return 0


def _on_devices(count: int) -> Any:
    """Hold the devices for all folds: they are not given twice to one process."""
    if count == 1:
        return contextlib.nullcontext()
    from anyvox_keras.backend import on_devices

    return on_devices(count)


def _folds(out: Path, given: dict[str, Any], count: int) -> list[tuple[Path, dict[str, Any], Any]]:
    """Folder, settings and cases of each fold; all see scans alike."""
    whole = segmentation.SegmentationRun(out, SegmentationSettings(**given))
    whole.fit_scans()
    own = {name: getattr(whole.settings, name) for name in (*SEEN, "voxel", "side")}
    if "steps" not in given:
        own["minutes"] = whole.settings.seconds / 60 / count
    folds = segmentation.folds_of(replace(whole.dataset, training=whole.scans), count)
    return [(out / f"fold_{k}", given | own, fold) for k, fold in enumerate(folds, 1)]


@segment.command()
@click.option("--run", required=True, type=Path, help="Run of train.")
@click.option("--out", required=True, type=Path, help="Folder of the preset.")
@click.option("--licence", help="Of the weights, for the card.")
@click.option("--half", is_flag=True, help="Store the weights as float16.")
@OVERWRITE
@PROGRESS
def preset(run: Path, out: Path, licence: str | None, half: bool, overwrite: bool) -> None:
    """Make a preset of a run, with a card, to be handed on; predict takes it as it takes a run."""
    io.check_output(out / "config.json", overwrite)
    segmentation.save_run_as_preset(run, out, {} if licence is None else {"licence": licence}, half)
    click.echo(f"{out}: a preset; use it with anyvox segment predict --run {out}")


@segment.command()
@click.option("--data", required=True, type=Path, help="Folder, as train takes it.")
@PROGRESS
def check(data: Path) -> None:
    """Tell what is wrong with a data set, and what training would take from it; exit 1 if grave."""
    from anyvox_keras.segmentation.fingerprint import read_fingerprint

    dataset = segmentation.read_dataset(data)
    findings = list(segmentation.check_dataset(dataset))
    for finding in findings:
        where = f"{finding.where}: " if finding.where else ""
        click.echo(f"{'wrong' if finding.grave else 'note'}: {where}{finding.what}")
    grave = sum(finding.grave for finding in findings)
    if not grave:
        facts = read_fingerprint(dataset.training, dataset.ignore)
        shape, mm = (" x ".join(f"{n:.3g}" for n in row) for row in (facts.shape, facts.spacing))
        window = "" if facts.window is None else ", CT of {:g} to {:g} HU".format(*facts.window)
        click.echo(f"median scan: {shape} voxels of {mm} mm{window}")
    counts = f"{len(dataset.training)} cases for training, {len(dataset.validation)} for validation"
    click.echo(f"{data}: {counts}, {grave} faults, {len(findings) - grave} notes")
    if grave:
        click.get_current_context().exit(1)


@segment.command()
@click.option(
    "--run", "runs", required=True, multiple=True, type=Path, help="Run; repeat for an ensemble."
)
@click.option("--images", required=True, multiple=True, type=Path, help="Folder or file; repeats.")
@click.option("--out", required=True, type=Path, help="Folder of the label maps.")
@click.option("--overlap", default=0.5, show_default=True, help="Of the windows.")
@click.option("--flips", is_flag=True, help="Average over the eight flips of each window.")
@click.option("--largest", is_flag=True, help="Keep the largest component of each class.")
@click.option("--report", is_flag=True, help="Write NAME.html too: the image with its labels.")
@click.option("--probabilities", is_flag=True, help="Write NAME_probabilities.nii.gz (4D) too.")
@FORM
@OVERWRITE
@SHARD
@worker_options
@PROGRESS
def predict(
    runs: tuple[Path, ...],
    images: tuple[Path, ...],
    out: Path,
    overwrite: bool,
    probabilities: bool,
    report: bool,
    shard: tuple[int, int],
    **options: Any,
) -> int:
    """Write the label map of each image, on its grid and named as it is."""
    runs = _with_folds(runs)
    scans = _scans(io.list_images(images), runs[0])
    tasks = part_of(_tasks(scans, out, probabilities, report), shard)
    for task in tasks:
        task.check(overwrite, [*scans])
    note(f"{len(tasks)} images, {', '.join(map(str, runs))}")
    rows: list[Any] = []

    def keep(volumes: list[Any]) -> None:
        rows.extend(volumes)
        with io.exclusive(out / VOLUMES, wait=SHARDS_WAIT):
            segmentation.save_volumes(out / VOLUMES, rows)

    failed = do_all(PredictJob(runs, options), tasks, "images", keep)
    click.echo(f"{out}: {len(tasks) - failed} label maps, {VOLUMES}{_least_certain(rows)}")
    return 1 if failed else 0


def _with_folds(runs: Sequence[Path]) -> tuple[Path, ...]:
    """Take the runs of its folds for a folder that holds them."""
    folds = [sorted(run.glob("fold_*/"), key=lambda path: (len(path.name), path)) for run in runs]
    pairs = zip(runs, folds, strict=True)
    return tuple(one for run, found in pairs for one in (found or [run]))


def _scans(found: Sequence[Path], run: Path) -> dict[Path, Any]:
    """What is read as each scan, by its first file; a list where each channel has a file."""
    if not (run / "classes.json").exists() or not (count := segmentation.channel_files(run)):
        return {path: path for path in found}
    joined = segmentation.join_channels(found, count)
    return {next(filter(None, files)): list(files) for files in joined.values()}


def _least_certain(rows: Sequence[Any]) -> str:
    cases = {row.case for row in rows}
    return f"; least certain: {segmentation.least_certain(rows)}" if len(cases) > 1 else ""


@dataclass(frozen=True)
class PredictTask:
    """A scan, its case, and where label map, probabilities and page go, if they are asked for."""

    image: Path
    source: Any
    case: str
    labels: Path
    probabilities: Path | None
    page: Path | None

    @property
    def targets(self) -> list[Path]:
        """The files to write."""
        return [path for path in (self.labels, self.probabilities, self.page) if path is not None]

    def check(self, overwrite: bool, images: Sequence[Path]) -> None:
        """Refuse to replace a file that is an input, or unless told to."""
        for target in self.targets:
            io.check_output(target, overwrite, images)

    def __str__(self) -> str:
        """Name the image."""
        return str(self.image)


def _tasks(
    scans: Mapping[Path, Any], out: Path, probabilities: bool, report: bool
) -> list[PredictTask]:
    """Where the results of each scan go.

    Raises:
        UserError: Two images would be written to one file.
    """
    tasks: list[PredictTask] = []
    taken: dict[Path, Path] = {}
    for image, source in scans.items():
        if any(image.samefile(other.image) for other in tasks):
            continue  # a file, and a folder that holds it
        # of nnU-Net's NAME_0000.nii.gz the digits tell the channel
        case = io.case_name(image)[:-5] if isinstance(source, list) else io.case_name(image)
        task = PredictTask(
            image,
            source,
            case,
            out / f"{case}{'.nii' if image.name.endswith('.nii') else '.nii.gz'}",
            out / f"{case}_probabilities.nii.gz" if probabilities else None,
            out / f"{case}.html" if report else None,
        )
        for target in task.targets:
            if target in taken:
                raise UserError(f"{image}: its result {target.name} is that of {taken[target]} too")
            taken[target] = image
        tasks.append(task)
    return tasks


@dataclass(frozen=True)
class PredictJob:
    """Segments scans by one ensemble, which is loaded once."""

    runs: tuple[Path, ...]
    options: dict[str, Any]

    @functools.cached_property
    def _predictor(self) -> Any:
        tell("loading the network")
        return load_predictor(self.runs, **self.options)

    def __call__(self, task: PredictTask) -> list[Any]:
        """Write what was asked for, in place of what a killed worker left; return the volumes."""
        predictor, names = self._predictor, pages.class_names(self.runs[0])
        scan = segmentation.read_scan(task.source)
        found = predictor(scan)
        io.save_volume(task.labels, found.array, scan.volume, overwrite=True)
        if task.page is not None:
            pages.save_prediction_page(task.page, scan.volume, found, names)
        if task.probabilities is not None:
            array = predictor.probabilities(scan)
            io.save_volume(task.probabilities, array, scan.volume, overwrite=True)
        return segmentation.label_volumes(task.case, found, names)


@segment.command()
@click.option("--predictions", required=True, type=Path, help="Folder of label maps.")
@click.option("--labels", required=True, type=Path, help="Folder of the true ones, same names.")
@click.option("--out", required=True, type=Path, help="CSV of each case and label.")
@click.option("--images", type=Path, help="Folder of the images: draws OUT as .png, .html.")
@OVERWRITE
@PROGRESS
def evaluate(
    predictions: Path, labels: Path, out: Path, images: Path | None, overwrite: bool
) -> None:
    """Measure Dice and HD95 of every case; with --images draw the best, median and worst."""
    pairs = segmentation.pair_files(predictions, labels)
    read = [file for pair in pairs for file in pair]
    io.check_output(out, overwrite, read)
    if images is not None:
        io.check_output(out.with_suffix(".png"), overwrite, read)
        io.check_output(out.with_suffix(".html"), overwrite, read)
    cases = list(segmentation.evaluate(counted(pairs, "cases", len(pairs))))
    segmentation.save_scores(out, cases, overwrite)
    if images is not None:
        figure = pages.save_picture(out.with_suffix(".png"), cases, pairs, images, overwrite)
        pages.save_scores_page(out.with_suffix(".html"), cases, pairs, images, figure)
    held = sum(not math.isnan(score.dice) for case in cases for score in case)
    mean = segmentation.mean_score(cases)
    click.echo(f"{out}: mean Dice {mean:.4f} of {held} labels in {len(cases)} cases")


def load_predictor(runs: tuple[Path, ...], **options: Any) -> Any:
    """Load one run, or several that see scans alike."""
    models, settings = zip(*(segmentation.load_run(run) for run in runs), strict=True)
    first = settings[0]
    for run, other in zip(runs, settings, strict=True):
        if any(getattr(other, name) != getattr(first, name) for name in SEEN):
            raise UserError(f"{run}: expected {', '.join(SEEN)} of {runs[0]}, received others")
    if len({model.classes for model in models}) > 1:
        raise UserError("--run: expected runs of the same classes, received others")
    numbers = {segmentation.class_numbers(run) for run in runs}
    if len(numbers) > 1:
        raise UserError("--run: expected runs of the same labels, received others")
    return segmentation.Predictor(
        models,
        first.crop,
        first.spacing_mm,
        scaled=segmentation.Scaling(first.scaling, first.window),
        numbers=numbers.pop(),
        **options,
    )
