"""Presets: a network as a folder of config, weights, metadata and a model card; and the hub's."""

import json
import math
import os
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError, reading
from anyvox_keras.extras import load_extra
from anyvox_keras.io import atomic, require_room
from anyvox_keras.io.output import cache_folder
from anyvox_keras.networks.checkpoint import load_checkpoint

REPOSITORY = "neeldey/anatomix"
HUB_PRESETS = ("anatomix", "anatomix-dev")
PACKAGED = Path(__file__).parent / "weights"
CONFIG, WEIGHTS, METADATA, CARD = "config.json", "model.weights.h5", "metadata.json", "README.md"


def hub_checkpoint(name: str) -> Path:
    """Return the checkpoint of a published network, downloading it once.

    A file `<name>.pth` that already lies in the cache folder is used without a download.

    Raises:
        UserError: If it can't be downloaded; the message says what to put where.
    """
    local = cache_folder() / f"{name}.pth"
    return local if local.is_file() else _download(name, local)


def hub_repository(address: str) -> Path:
    """Return the local copy of a preset repository `hf://owner/name`."""
    repository = address.removeprefix("hf://")
    hub = _hub()
    try:
        return Path(hub.snapshot_download(repository))
    except Exception as error:  # every transport has its own
        raise UserError(
            f"{address}: cannot be downloaded ({_line(error)}); download "
            f"https://huggingface.co/{repository} elsewhere and pass its folder"
        ) from error


def _download(name: str, local: Path) -> Path:
    url = f"https://huggingface.co/{REPOSITORY}/resolve/main/{name}.pth"
    advice = f"download {url} and put it at {local}"
    try:
        return Path(_hub().hf_hub_download(REPOSITORY, f"{name}.pth"))
    except UserError as error:
        raise UserError(f"preset {name}: {error}; or {advice}") from error
    except Exception as error:  # every transport has its own
        raise UserError(f"preset {name}: offline ({_line(error)}); {advice}") from error


def _hub() -> Any:
    return load_extra("huggingface_hub", "the hub")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"


def preset_folder(preset: str | os.PathLike[str]) -> Path:
    """Find the folder, or the published checkpoint, that a preset's name stands for.

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
        return hub_checkpoint(text)
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


def preset_metadata(preset: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a preset's `metadata.json`; a preset without one has no metadata.

    Args:
        preset: As `preset_folder`.

    Raises:
        UserError: If there is no such preset, or the file is no JSON.
    """
    if os.fspath(preset) in HUB_PRESETS:
        return {"name": preset, "source": f"https://huggingface.co/{REPOSITORY}"}
    path = preset_folder(preset) / METADATA
    return _read(path) if path.is_file() else {}


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
    if folder.is_file():
        return load_checkpoint(cls, folder, dtype)
    config = _read(folder / CONFIG)
    if config.get("class_name") != cls.__name__:
        raise UserError(
            f"{folder}: expected a preset of {cls.__name__}, received {config.get('class_name')}"
        )
    with reading(folder / CONFIG, "a preset"):
        network = cls.from_config({**config["config"], "dtype": dtype})
    try:
        network.load_weights(folder / WEIGHTS)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{folder / WEIGHTS}: cannot be loaded ({reason})") from error
    _require_finite(network, folder / WEIGHTS)
    return network


def _require_finite(network: keras.Model, path: Path) -> None:
    """Refuse weights whose every result would be NaN."""
    for weight in network.weights:
        if not np.isfinite(to_numpy(weight).astype("float32")).all():
            raise UserError(f"{path}: expected finite weights, received NaN or infinity")


def save_preset(
    network: keras.Model,
    folder: str | os.PathLike[str],
    metadata: dict[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write a preset folder; each file takes its place whole or not at all.

    Args:
        network: The network.
        folder: Where it goes; made if need be.
        metadata: Further entries of `metadata.json`.
        half: Whether the weights are stored as float16, half the size; they load as float32.
    """
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
        # the layout of HDF5 takes some kB for each array
        size = sum(4 * math.prod(weight.shape) + 4096 for weight in network.weights)
        require_room(folder / WEIGHTS, 2 * size if half else size)
        network.save_weights(temporary)
        if half:
            _halve(temporary)


def _halve(path: Path) -> None:
    """Rewrite a weights file with float16 in place of float32, without the space that freed."""

    def copy(source: h5py.Group, target: h5py.Group) -> None:
        target.attrs.update(source.attrs)
        for name, item in source.items():
            if isinstance(item, h5py.Group):
                copy(item, target.create_group(name))
            else:
                narrow = item.dtype == np.float32
                target.create_dataset(name, data=item[()].astype("float16") if narrow else item[()])

    rewritten = path.with_name(f"half-{path.name}")
    with h5py.File(path) as source, h5py.File(rewritten, "w") as target:
        copy(source, target)
    rewritten.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected names and values, received {type(content).__name__}")
    return content


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
