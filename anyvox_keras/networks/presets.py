"""Presets: a network as a folder of config, weights, metadata and a model card; and the hub's."""

import json
import math
import os
from pathlib import Path
from typing import Any, Self

import keras

from anyvox_keras.errors import UserError, reading
from anyvox_keras.io import atomic
from anyvox_keras.io.provenance import sha256_of
from anyvox_keras.networks import weights_file
from anyvox_keras.networks.checkpoint import class_in, load_checkpoint, read_checkpoint
from anyvox_keras.networks.hub import HUB_PRESETS, REPOSITORY, SCHEME, hub_checkpoint, hub_folder
from anyvox_keras.saving import PACKAGE, class_of, load_model

_ABOUT = {
    "Segmenter": "Segmentation of 3D images `(B, D, H, W, 1)`, min-max normalised, into logits.",
    "VoxelMorph": "Deformable registration of two 3D images `(B, D, H, W, C)` on one grid.",
}
_FEATURES = "Contrast-invariant 3D features for images `(B, D, H, W, 1)`, min-max normalised."
PACKAGED = Path(__file__).parent / "weights"
CONFIG, METADATA, CARD = "config.json", "metadata.json", "README.md"
#: what holds the weights: of a class of the package one of the first two, of any other the last
WEIGHTS, MODEL = weights_file.HDF5, "model.keras"
#: files that hold a network by themselves: Keras's own, and the paper's checkpoints
SAVED, CHECKPOINTS = ".keras", (".pth", ".pt")


def model_card(name: str, about: dict[str, Any], arguments: dict[str, Any]) -> str:
    """Fill the template from what is known of a network.

    Args:
        name: The preset's name.
        about: `metadata.json`; a `licence` becomes the hub's licence field, and whatever a run
            reached becomes a row of the table.
        arguments: The network's constructor arguments.
    """
    kind, own = about["class"], about.get("loader", about["class"])
    header = ["---", "library_name: keras", "tags: [anyvox_keras, 3d, medical-imaging]"]
    if "licence" in about:
        header.append(f"license: {str(about['licence']).lower()}")
    load = f"avx.{own}.from_preset" if own == kind else "avx.networks.load_network"
    parts = [
        "\n".join([*header, "---"]),
        f"# {about.get('name', name)}",
        _ABOUT.get(kind, _FEATURES),
        f'    import anyvox_keras as avx\n\n    network = {load}("<this folder>")',
        _table("fact", {key: value for key, value in about.items() if key != "loader"}),
        _table("argument", {f"`{k}`": v for k, v in arguments.items() if not _nested(v)}),
    ]
    return "\n\n".join(part for part in parts if part)


def _table(title: str, rows: dict[str, Any]) -> str:
    if not rows:
        return ""
    lines = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"| {title} | value |\n|---|---|\n{lines}"


def _nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_nested, value)))


class Presets:
    """What a network of the package inherits to be saved as a preset and loaded from one."""

    @classmethod
    def from_preset(cls, preset: str | os.PathLike[str], dtype: Any = None) -> Self:
        """Load a network with its weights.

        Args:
            preset: A preset folder, the folder of a pretraining run, a checkpoint of the paper's
                code (`.pth`), a name (`anyvox-base` is packaged; `anatomix`, `anatomix-dev` and
                `anatomix-dev-vit` are downloaded and converted once), or
                `"hf://owner/repository[@revision]"`.
            dtype: Dtype policy; None takes the global one.

        Raises:
            UserError: If there is no such preset, it holds another class, its weights are not
                those of its SHA-256, or they can't be loaded.
        """
        found: Self = load_preset(cls, preset, dtype)
        return found

    def save_to_preset(
        self,
        folder: str | os.PathLike[str],
        metadata: dict[str, Any] | None = None,
        half: bool = False,
        safetensors: bool = False,
    ) -> None:
        """Write `config.json`, the weights, `metadata.json` and a model card `README.md`.

        Args:
            folder: Where they go.
            metadata: Further entries of `metadata.json`, such as `norm` for `FeatureExtractor`, or
                `licence`, which becomes the hub's.
            half: Whether weights are stored as float16.
            safetensors: Whether they are written as `model.safetensors` instead of
                `model.weights.h5`.
        """
        save_preset(self, folder, metadata, half, safetensors)


def preset_folder(preset: str | os.PathLike[str]) -> Path:
    """Find the folder, or the file, that a preset's name stands for.

    Args:
        preset: A preset folder, the folder of a pretraining run (its `backbone/`), a `.keras` file,
            a checkpoint of the paper's code (`.pth`), a packaged or published name, or
            `"hf://owner/repository[@revision]"`.

    Raises:
        UserError: If there is no such preset.
    """
    text = os.fspath(preset)
    if text.startswith(SCHEME):
        return hub_folder(text)
    if Path(text).suffix in (SAVED, *CHECKPOINTS) and Path(text).is_file():
        return Path(text)
    for folder in (Path(text), Path(text) / "backbone", PACKAGED / text):
        if (folder / CONFIG).is_file():
            return folder
    if text in HUB_PRESETS:
        return hub_checkpoint(text)
    if Path(text).exists():
        raise UserError(f"{text}: not a preset folder; it lacks {CONFIG} (or backbone/{CONFIG})")
    raise UserError(
        f"unknown preset {text}; expected a preset folder, the folder of a pretraining run, a "
        f"{SAVED} or {CHECKPOINTS[0]} file, hf://owner/repository, or one of "
        f"{', '.join(preset_names())}"
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
    found = preset_folder(preset)
    return _read(found / METADATA) if (found / METADATA).is_file() else {}


def load_network(preset: str | os.PathLike[str], dtype: Any = None) -> keras.Model:
    """Load the network of a preset, whatever its class.

    Args:
        preset: A preset folder, the folder of a pretraining run, a `.keras` file, a checkpoint of
            the paper's code (`.pth`), a packaged or published name, or
            `"hf://owner/repository[@revision]"`.
        dtype: Dtype policy of a class of the package; None takes the global one. A `.keras` file,
            and with it a network of another class, computes as it was stored.

    Raises:
        UserError: If there is no such preset, or it can't be loaded.

    Example:
        ```python
        import anyvox_keras as avx

        avx.UNet(width=4, levels=2).save_to_preset("mine")
        unet = avx.networks.load_network("mine")
        ```
    """
    folder = preset_folder(preset)
    if folder.suffix == SAVED:
        return load_model(folder, compile=False)
    if folder.is_file():
        name = class_in(read_checkpoint(folder))
    elif (folder / MODEL).is_file():
        _require_digest(folder, folder / MODEL)
        return load_model(folder / MODEL, compile=False)
    else:
        name = str(_read(folder / CONFIG).get("class_name"))
    cls = class_of(name)
    if cls is None or not hasattr(cls, "from_preset"):
        raise UserError(f"{folder}: expected a preset of a network, received {name}")
    network: keras.Model = load_preset(cls, preset, dtype)
    return network


def load_preset(cls: Any, preset: str | os.PathLike[str], dtype: Any = None) -> Any:
    """Build the network of a preset and load its weights.

    Args:
        cls: The class the preset must hold.
        preset: As `preset_folder`.
        dtype: Dtype policy; None takes the global one, whatever the network was trained in.
    """
    folder = preset_folder(preset)
    if folder.suffix == SAVED:
        raise UserError(f"{folder}: expected a preset of {cls.__name__}, received a {SAVED} file")
    if folder.is_file():
        return load_checkpoint(cls, folder, dtype)
    config = _read(folder / CONFIG)
    if config.get("class_name") != cls.__name__:
        raise UserError(
            f"{folder}: expected a preset of {cls.__name__}, received {config.get('class_name')}"
        )
    safe = (folder / weights_file.SAFETENSORS).is_file()
    weights = folder / (weights_file.SAFETENSORS if safe else weights_file.HDF5)
    _require_digest(folder, weights)
    with reading(folder / CONFIG, "a preset"):
        network = cls.from_config(_in_dtype(config["config"], dtype))
    weights_file.load_weights(network, weights)
    return network


def _in_dtype(config: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """Ask for a policy, of a network within a network too."""
    config = {**config, "dtype": dtype}
    inner = config.get("backbone")
    if isinstance(inner, dict) and "dtype" in inner.get("config", {}):
        config["backbone"] = {**inner, "config": _in_dtype(inner["config"], dtype)}
    return config


def _require_digest(folder: Path, weights: Path) -> None:
    told = _read(folder / METADATA).get("sha256") if (folder / METADATA).is_file() else None
    if told is not None and weights.is_file() and told != (found := sha256_of(weights)):
        raise UserError(
            f"{weights}: cannot be loaded (its SHA-256 is {found[:8]}..., {METADATA} says "
            f"{str(told)[:8]}...)"
        )


def save_preset(
    network: Any,
    folder: str | os.PathLike[str],
    metadata: dict[str, Any] | None = None,
    half: bool = False,
    safetensors: bool = False,
) -> None:
    """Write a preset folder; each file takes its place whole or not at all.

    Args:
        network: The network: of a class of the package, or any other, which is written as
            `model.keras`.
        folder: Where it goes; made if need be.
        metadata: Further entries of `metadata.json`.
        half: Whether the weights are stored as float16, half the size; they load as float32.
        safetensors: Whether they are written as safetensors.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = keras.saving.serialize_keras_object(network)
    own = str(config.get("registered_name")).startswith(f"{PACKAGE}>")
    about = {
        "class": type(network).__name__,
        "parameters": sum(math.prod(weight.shape) for weight in network.trainable_weights),
        "keras": keras.__version__,
        **(metadata or {}),
    }
    stored = weights_file.SAFETENSORS if safetensors else weights_file.HDF5
    weights = folder / (stored if own else MODEL)
    # What an earlier preset left would say another digest, or be found first.
    others = {METADATA, MODEL, weights_file.HDF5, weights_file.SAFETENSORS} - {weights.name}
    for name in others:
        (folder / name).unlink(missing_ok=True)
    _write(folder / CONFIG, json.dumps(config, indent=2))
    if own:
        weights_file.save_weights(network, weights, half)
    else:
        with atomic(weights) as temporary:
            network.save(temporary)
    about["sha256"] = sha256_of(weights)
    _write(folder / METADATA, json.dumps(about, indent=2))
    shown = about if own else {**about, "loader": ""}
    _write(folder / CARD, model_card(folder.name, shown, config["config"] if own else {}))


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
