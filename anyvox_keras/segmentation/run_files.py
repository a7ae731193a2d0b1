"""What a finished training leaves: its network, its classes, a preset to hand on."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from anyvox_keras.errors import UserError, one_line
from anyvox_keras.io import atomic, save_json
from anyvox_keras.networks import load_network
from anyvox_keras.segmentation.segmentation_settings import SegmentationSettings
from anyvox_keras.segmentation.segmenter import Segmenter
from anyvox_keras.training.checkpoint import BEST, LAST
from anyvox_keras.training.training_run import CONFIG, policy_of

CLASSES = "classes.json"
# of a preset: the network's own description
_NETWORK = "config.json"


def load_run(folder: str | os.PathLike[str]) -> tuple[Segmenter, SegmentationSettings]:
    """Return a run's segmenter with its best weights (its last, before a validation).

    Args:
        folder: A run of `anyvox segment train`, or a preset that `save_run_as_preset` made of one.

    Raises:
        UserError: If the folder holds no segmentation run with weights.
    """
    folder = Path(folder)
    found = [name for name in (BEST, LAST) if (folder / name).exists()]
    if not (found or (folder / _NETWORK).exists()) or not (folder / CLASSES).exists():
        raise UserError(f"{folder}: expected a run of `anyvox segment train`, with its weights")
    classes = read_classes(folder / CLASSES)["classes"]
    settings = SegmentationSettings.from_toml(folder / CONFIG)
    policy = policy_of(settings.precision)
    if not found:
        return Segmenter.from_preset(folder, policy), settings
    segmenter = Segmenter(load_network(folder, policy), len(classes), dtype=policy)
    try:
        segmenter.load_weights(folder / found[0])
    except (OSError, ValueError, KeyError) as error:
        reason = one_line(error)[:160]
        raise UserError(f"{folder / found[0]}: cannot be loaded ({reason})") from error
    return segmenter, settings


def class_numbers(folder: str | os.PathLike[str]) -> tuple[int, ...]:
    """Return the numbers that the classes of a run have in label maps.

    Raises:
        UserError: If the folder names no classes.
    """
    told = read_classes(Path(folder) / CLASSES)
    count = len(told["classes"])
    numbers = told.get("numbers") or range(1, count + 1)
    if len(numbers) != count:
        raise UserError(f"{Path(folder) / CLASSES}: expected {count} numbers, received {numbers}")
    return tuple(int(number) for number in numbers)


def channel_files(folder: str | os.PathLike[str]) -> int:
    """Return how many files a scan of a run has, one a channel; 0 where one file holds all.

    Raises:
        UserError: If the folder names no classes.
    """
    return int(read_classes(Path(folder) / CLASSES).get("files", 0))


def save_run_as_preset(
    run: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    metadata: dict[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Make a preset of a run's segmenter, with a model card, to be handed on.

    `Segmenter.from_preset` loads it, and `anyvox segment predict --run` takes it as it takes a run:
    classes and settings lie beside the weights; the paths of the data do not.

    Args:
        run: The run.
        folder: Where it goes.
        metadata: Further entries of `metadata.json`, such as `licence`.
        half: Whether weights are stored as float16.

    Raises:
        UserError: If the folder holds no segmentation run with weights.
    """
    segmenter, settings = load_run(run)
    told = read_classes(Path(run) / CLASSES)
    seen = {name: getattr(settings, name) for name in ("crop", "spacing", "scaling", "window")}
    about = {
        "name": Path(folder).name,
        "classes": ", ".join(told["classes"]),
        "steps": settings.steps,
        **{name: value for name, value in seen.items() if value is not None},
        **(metadata or {}),
    }
    segmenter.save_to_preset(folder, about, half)
    save_json(Path(folder) / CLASSES, told, overwrite=True)
    own = replace(settings, data=None, synthetic_from=None, cases=None)
    with atomic(Path(folder) / CONFIG) as temporary:
        temporary.write_text(own.to_toml(), encoding="utf-8")


def read_classes(path: Path) -> dict[str, Any]:
    """Read a `classes.json`: `classes`, and where they are needed `numbers` and `files`.

    Raises:
        UserError: If it names no classes.
    """
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        classes = told["classes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: expected class names ({error!r})") from error
    if not isinstance(classes, list) or not classes:
        raise UserError(f"{path}: expected a list of class names, received {classes!r}")
    return {**told, "classes": [str(name) for name in classes]}
