"""Presets: a network as a folder of config, weights, metadata and a model card."""

import json
import math
import os
from pathlib import Path
from typing import Any

import keras

from anyvox_keras._errors import UserError
from anyvox_keras.io import atomic
from anyvox_keras.networks.hub import HUB_PRESETS, hub_preset, hub_repository

PACKAGED = Path(__file__).parent / "presets"
CONFIG, WEIGHTS, METADATA, CARD = "config.json", "model.weights.h5", "metadata.json", "README.md"


def preset_folder(preset: str | os.PathLike[str]) -> Path:
    """Find the folder a preset's name stands for.

    Args:
        preset: A preset folder, the folder of a pretraining run (its `backbone/`), a packaged or
            published name, or `"hf://owner/repository"`.

    Raises:
        UserError: If there is no such preset.
    """
    text = os.fspath(preset)
    if text.startswith("hf://"):
        return hub_repository(text)
    for folder in (Path(text), Path(text) / "backbone", PACKAGED / text):
        if (folder / CONFIG).is_file():
            return folder
    if text in HUB_PRESETS:
        return hub_preset(text)
    if Path(text).exists():
        raise UserError(f"{text}: not a preset folder; it lacks {CONFIG} (or backbone/{CONFIG})")
    raise UserError(
        f"unknown preset {text}; expected a preset folder, the folder of a pretraining run, "
        f"hf://owner/repository, or one of {', '.join(preset_names())}"
    )


def preset_names() -> list[str]:
    """Names that `preset_folder` knows without a path: packaged ones, then published ones."""
    packaged = sorted(p.parent.name for p in PACKAGED.glob(f"*/{CONFIG}"))
    return [*packaged, *HUB_PRESETS]


def load_preset(
    cls: type[keras.Model], preset: str | os.PathLike[str], dtype: Any = None
) -> keras.Model:
    """Build the network of a preset and load its weights.

    Args:
        cls: The class the preset must hold.
        preset: As `preset_folder`.
        dtype: Dtype policy; None takes the global one, whatever the network was trained in.
    """
    folder = preset_folder(preset)
    try:
        config = json.loads((folder / CONFIG).read_text())
    except ValueError as error:
        raise UserError(f"{folder / CONFIG}: not JSON ({error})") from error
    if config.get("class_name") != cls.__name__:
        raise UserError(
            f"{folder}: expected a preset of {cls.__name__}, received {config.get('class_name')}"
        )
    config["config"].pop("dtype", None)
    network = cls.from_config({**config["config"], "dtype": dtype})
    try:
        network.load_weights(folder / WEIGHTS)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{folder / WEIGHTS}: cannot be loaded ({reason})") from error
    return network


def save_preset(
    network: keras.Model, folder: str | os.PathLike[str], metadata: dict[str, Any] | None = None
) -> None:
    """Write a preset folder; each file takes its place whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "class": type(network).__name__,
        "parameters": sum(math.prod(weight.shape) for weight in network.trainable_weights),
        "keras": keras.__version__,
        **(metadata or {}),
    }
    config = keras.saving.serialize_keras_object(network)
    _write(folder / CONFIG, json.dumps(config, indent=2))
    _write(folder / METADATA, json.dumps(about, indent=2))
    _write(folder / CARD, _card(folder.name, about, config["config"]))
    with atomic(folder / WEIGHTS) as temporary:
        network.save_weights(temporary)


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text + "\n")


def _card(name: str, about: dict[str, Any], arguments: dict[str, Any]) -> str:
    title = about.get("name", name)
    facts = "\n".join(f"| {key} | {value} |" for key, value in about.items())
    plain = {k: v for k, v in arguments.items() if not isinstance(v, dict)}
    settings = "\n".join(f"| `{key}` | {value} |" for key, value in plain.items())
    return (
        f"# {title}\n\nContrast-invariant 3D features for images `(B, D, H, W, 1)`, min-max "
        f"normalised.\n\n    import anyvox_keras as avx\n\n"
        f'    backbone = avx.{about["class"]}.from_preset("<this folder>")\n\n'
        f"| fact | value |\n|---|---|\n{facts}\n\n| argument | value |\n|---|---|\n{settings}\n"
    )
