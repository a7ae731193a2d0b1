"""`anyvox segment check|train|preset|predict|evaluate`."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from anyvox_keras.cli._options import FORM, OVERWRITE, QUIET
from anyvox_keras.cli._run_options import given_settings, is_paper, run_options, settle, train_run
from anyvox_keras.cli._segment_pages import class_names, save_prediction_page, save_scores_page
from anyvox_keras.cli.main import Commands
from anyvox_keras.errors import UserError
from anyvox_keras.segmentation.segmentation_settings import SegmentationSettings

#: settings by which networks see scans alike
SEEN = ("crop", "spacing", "scaling", "window")
#: table of how large the structures of all cases are
VOLUMES = "volumes.csv"
SHOWN = ("loss", "dice", "val_loss", "val_dice", "pairs_per_second")


@click.group(cls=Commands)
def segment() -> None:
    """Train a segmentation on one to a few labelled scans; use it; measure it."""


@segment.command()
@click.option("--folds", type=int, help="Train so many runs, OUT/fold_1 ..., for an ensemble.")
@run_options(SegmentationSettings)
def train(
    out: Path,
    config: Path | None,
    resume: bool,
    overwrite: bool,
    folds: int | None,
    **flags: Any,
) -> None:
    """Train on the cases of a folder as the Decathlon, nnU-Net or BIDS derivatives lay it out.

    With --folds each of several runs validates on its own part of the cases and learns from the
    others, in an equal share of the minutes; predict takes OUT for their ensemble.
    """
    began = time.time()
    given = given_settings(SegmentationSettings, config, flags)
    parts: list[tuple[Path, dict[str, Any], Any]] = [(out, given, None)]
    if folds is not None:
        parts = _folds(out, given, folds)
    for folder, own, dataset in parts:
        settings = settle(SegmentationSettings, folder, own, resume, overwrite)
        if settings.synthetic_from is None:
            settings.require("data")
        _train(folder, settings, dataset, overwrite and not resume, began, is_paper(config))
        began = time.time()
    click.echo(f"{out}: use it with anyvox segment predict --run {out}")


def _train(
    out: Path, settings: SegmentationSettings, dataset: Any, overwrite: bool, began: float,
    foretell: bool,
) -> None:  # fmt: skip
    """Train one run to its end, and tell of it."""
    from anyvox_keras.segmentation import SegmentationRun

    run = SegmentationRun(out, settings, dataset, overwrite)
    if run.finished:
        click.echo(f"{out}: finished at step {run.step}")
        return
    training, validation = run.cases
    classes = ", ".join(run.classes)
    click.echo(f"{len(training)} cases for training, {len(validation)} for validation: {classes}")
    train_run(run, SHOWN, began, foretell)
    click.echo(f"{out}: step {run.step}")


def _folds(out: Path, given: dict[str, Any], count: int) -> list[tuple[Path, dict[str, Any], Any]]:
    """Folder, settings and cases of each fold; all see scans alike."""
    from anyvox_keras.segmentation import SegmentationRun, folds_of

    whole = SegmentationRun(out, SegmentationSettings(**given))
    whole.fit_scans()
    own = {name: getattr(whole.settings, name) for name in (*SEEN, "voxel", "side")}
    if "steps" not in given:
        own["minutes"] = whole.settings.seconds / 60 / count
    folds = folds_of(replace(whole.dataset, training=whole.scans), count)
    return [(out / f"fold_{k}", given | own, fold) for k, fold in enumerate(folds, 1)]


@segment.command()
@click.option("--run", required=True, type=Path, help="Run of train.")
@click.option("--out", required=True, type=Path, help="Folder of the preset.")
@click.option("--licence", help="Of the weights, for the card.")
@click.option("--half", is_flag=True, help="Store the weights as float16.")
@OVERWRITE
@QUIET
def preset(run: Path, out: Path, licence: str | None, half: bool, overwrite: bool) -> None:
    """Make a preset of a run, with a card, to be handed on; predict takes it as it takes a run."""
    from anyvox_keras.io import check_output
    from anyvox_keras.segmentation import save_run_as_preset

    check_output(out / "config.json", overwrite)
    save_run_as_preset(run, out, {} if licence is None else {"licence": licence}, half)
    click.echo(f"{out}: a preset; use it with anyvox segment predict --run {out}")


@segment.command()
@click.option("--data", required=True, type=Path, help="Folder, as train takes it.")
@QUIET
def check(data: Path) -> None:
    """Tell what is wrong with a data set, and what training would take from it; exit 1 if grave."""
    from anyvox_keras.segmentation import check_dataset, read_dataset
    from anyvox_keras.segmentation.fingerprint import read_fingerprint

    dataset = read_dataset(data)
    findings = list(check_dataset(dataset))
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
@QUIET
def predict(
    runs: tuple[Path, ...],
    images: tuple[Path, ...],
    out: Path,
    overwrite: bool,
    probabilities: bool,
    report: bool,
    **options: Any,
) -> None:
    """Write the label map of each image, on its grid and named as it is."""
    from anyvox_keras.io import check_output, list_images, save_volume
    from anyvox_keras.progress import counted, note, tell
    from anyvox_keras.segmentation import label_volumes, read_scan, save_volumes

    runs = _with_folds(runs)
    scans = _scans(list_images(images), runs[0])
    targets = _targets(scans, out, overwrite, probabilities)
    if report:
        for target, _ in targets.values():
            check_output(_page(target), overwrite)
    note(f"{len(targets)} images, {', '.join(map(str, runs))}")
    tell("loading the network")
    predictor = _predictor(runs, **options)
    names, rows = class_names(runs[0]), []
    for path, (target, beside) in counted(targets.items(), "images", len(targets)):
        scan = read_scan(scans[path])
        found = predictor(scan)
        save_volume(target, found.array, scan.volume, overwrite)
        rows += label_volumes(target.name.removesuffix(".gz").removesuffix(".nii"), found, names)
        if report:
            save_prediction_page(_page(target), scan.volume, found, names)
        if probabilities:
            save_volume(beside, predictor.probabilities(scan), scan.volume, overwrite)
        save_volumes(out / VOLUMES, rows)
    click.echo(f"{out}: {len(targets)} label maps, {VOLUMES}{_least_certain(rows)}")


def _with_folds(runs: Sequence[Path]) -> tuple[Path, ...]:
    """Take the runs of its folds for a folder that holds them."""
    folds = [sorted(run.glob("fold_*/"), key=lambda path: (len(path.name), path)) for run in runs]
    pairs = zip(runs, folds, strict=True)
    return tuple(one for run, found in pairs for one in (found or [run]))


def _scans(found: Sequence[Path], run: Path) -> dict[Path, Any]:
    """What is read as each scan, by its first file; a list where each channel has a file."""
    from anyvox_keras.segmentation import channel_files, join_channels

    if not (run / "classes.json").exists() or not (count := channel_files(run)):
        return {path: path for path in found}
    joined = join_channels(found, count)
    return {next(filter(None, files)): list(files) for files in joined.values()}


def _page(target: Path) -> Path:
    return target.with_name(f"{target.name.removesuffix('.gz').removesuffix('.nii')}.html")


def _least_certain(rows: Sequence[Any]) -> str:
    from anyvox_keras.segmentation import least_certain

    cases = {row.case for row in rows}
    return f"; least certain: {least_certain(rows)}" if len(cases) > 1 else ""


def _targets(
    scans: Mapping[Path, Any], out: Path, overwrite: bool, probabilities: bool
) -> dict[Path, tuple[Path, Path]]:
    """Where the label map and the probabilities of each image go.

    Raises:
        UserError: Two images would be written to one file, a file exists, or is an input.
    """
    from anyvox_keras.io import case_name, check_output

    targets: dict[Path, tuple[Path, Path]] = {}
    taken: dict[Path, Path] = {}
    for image, source in scans.items():
        if any(image.samefile(other) for other in targets):
            continue  # a file, and a folder that holds it
        # of nnU-Net's NAME_0000.nii.gz the digits tell the channel
        case = case_name(image)[:-5] if isinstance(source, list) else case_name(image)
        ending = ".nii" if image.name.endswith(".nii") else ".nii.gz"
        pair = out / f"{case}{ending}", out / f"{case}_probabilities.nii.gz"
        for target in pair if probabilities else pair[:1]:
            if target in taken:
                raise UserError(f"{image}: its result {target.name} is that of {taken[target]} too")
            taken[target] = image
            check_output(target, overwrite, [*scans])
        targets[image] = pair
    return targets


@segment.command()
@click.option("--predictions", required=True, type=Path, help="Folder of label maps.")
@click.option("--labels", required=True, type=Path, help="Folder of the true ones, same names.")
@click.option("--out", required=True, type=Path, help="CSV of each case and label.")
@click.option("--images", type=Path, help="Folder of the images: draws OUT as .png, .html.")
@OVERWRITE
@QUIET
def evaluate(
    predictions: Path, labels: Path, out: Path, images: Path | None, overwrite: bool
) -> None:
    """Measure Dice and HD95 of every case; with --images draw the best, median and worst."""
    from anyvox_keras import segmentation
    from anyvox_keras.io import check_output
    from anyvox_keras.progress import counted

    pairs = segmentation.pair_files(predictions, labels)
    read = [file for pair in pairs for file in pair]
    check_output(out, overwrite, read)
    if images is not None:
        check_output(out.with_suffix(".png"), overwrite, read)
        check_output(out.with_suffix(".html"), overwrite, read)
    cases = list(segmentation.evaluate(counted(pairs, "cases", len(pairs))))
    segmentation.save_scores(out, cases, overwrite)
    if images is not None:
        figure = save_picture(out.with_suffix(".png"), cases, pairs, images, overwrite)
        save_scores_page(out.with_suffix(".html"), cases, pairs, images, figure)
    held = sum(not math.isnan(score.dice) for case in cases for score in case)
    mean = segmentation.mean_score(cases)
    click.echo(f"{out}: mean Dice {mean:.4f} of {held} labels in {len(cases)} cases")


def _predictor(runs: tuple[Path, ...], **options: Any) -> Any:
    """Load one run, or several that see scans alike."""
    from anyvox_keras.segmentation import Predictor, Scaling, class_numbers, load_run

    models, settings = zip(*(load_run(run) for run in runs), strict=True)
    first = settings[0]
    for run, other in zip(runs, settings, strict=True):
        if any(getattr(other, name) != getattr(first, name) for name in SEEN):
            raise UserError(f"{run}: expected {', '.join(SEEN)} of {runs[0]}, received others")
    if len({model.classes for model in models}) > 1:
        raise UserError("--run: expected runs of the same classes, received others")
    numbers = {class_numbers(run) for run in runs}
    if len(numbers) > 1:
        raise UserError("--run: expected runs of the same labels, received others")
    return Predictor(
        models,
        first.crop,
        first.spacing_mm,
        scaled=Scaling(first.scaling, first.window),
        numbers=numbers.pop(),
        **options,
    )


def save_picture(
    path: Path,
    cases: Sequence[Sequence[Any]],
    pairs: Sequence[tuple[Path, Path]],
    images: Path,
    overwrite: bool,
) -> Any:
    """Draw three cases by their mean Dice.

    Args:
        path: Of the picture.
        cases: Scores of each case, in the order of `pairs`.
        pairs: Files of prediction and truth.
        images: Folder of images named as the predictions.
        overwrite: Whether an existing picture is replaced.
    """
    from anyvox_keras.io import case_name, load_labels, load_volume
    from anyvox_keras.pictures import CasePicture, cases_picture, save_figure
    from anyvox_keras.segmentation import mean_score

    known = [place for place, case in enumerate(cases) if not math.isnan(mean_score([case]))]
    if not known:
        raise UserError(f"{path}: expected a case with labels to draw, received none")
    order = sorted(known, key=lambda place: -mean_score([cases[place]]))
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    rows = []
    for what, place in chosen.items():
        found, expected = (load_labels(file) for file in pairs[place])
        image = load_volume(images / pairs[place][0].name)
        title = f"{what}: {case_name(pairs[place][0])}, Dice {mean_score([cases[place]]):.3f}"
        rows.append(CasePicture(title, image.array, found.array, expected.array, image.grid))
    figure = cases_picture(rows)
    save_figure(figure, path, overwrite)
    return figure
