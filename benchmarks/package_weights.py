"""Put a run's network into the package as a preset, float16, with its model card.

    python benchmarks/package_weights.py RUN [RUN ...] NAME --factor 0.5 --features both
    python benchmarks/package_weights.py RUN [RUN ...] anyvox-morph

The runs, of `anyvox pretrain` or of `anyvox voxelmorph train`, are the stages of one chain, each
begun from the one before; the last one's network ships.
The card's facts come from the runs' own files; its results are written by hand in
`benchmarks/cards/NAME.md` and follow below.
"""

import argparse
import csv
import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

from anyvox_keras.contrastive.run_settings import RunSettings
from anyvox_keras.networks import UNet
from anyvox_keras.networks.presets import CARD, METADATA, PACKAGED, WEIGHTS
from anyvox_keras.voxelmorph import VoxelMorphSettings, load_network
from anyvox_keras.voxelmorph.trainer import NETWORK

RESULTS = Path(__file__).parent / "cards"
#: most voxels of the grid that a registration network sees
VOXELS = 96**3
#: how it is asked
ASKED: dict[str, Any] = {"both_ways": True, "passes": 2}
FEATURES = """Contrast-invariant features of 3D medical images: a `UNet` of {parameters:,}
parameters, trained on synthetic shapes alone.

    import anyvox_keras as avx

    extractor = avx.FeatureExtractor.from_preset("{name}")"""
MORPH = """Registration of two 3D medical images of any contrast by a network: a `VoxelMorph` of
{parameters:,} parameters, trained on synthetic pairs alone.

    anyvox voxelmorph register FIXED MOVING --out result"""


def main() -> None:
    """Write the preset's four files."""
    options = _options()
    stages = [_stage(Path(run)) for run in options.runs]
    folder = PACKAGED / options.name
    metadata = {"name": options.name, "stages": stages, "licence": "MIT"}
    if _registers(options.runs[-1]):
        metadata["registration"] = {"affine": "affine", "voxels": VOXELS, **ASKED}
        network: Any = load_network(options.runs[-1])
    else:
        metadata["norm"] = options.norm
        metadata["registration"] = {"features": options.features, "factor": options.factor}
        network = UNet.from_preset(options.runs[-1])
    network.save_to_preset(folder, metadata, half=True)
    about = json.loads((folder / METADATA).read_text())
    about["sha256"] = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / METADATA).write_text(json.dumps(about, indent=2) + "\n")
    (folder / CARD).write_text(_card(about))
    print(f"{folder}: {(folder / WEIGHTS).stat().st_size / 1e6:.1f} MB, {about['sha256']}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="Folders of the stages' runs, in order.")
    parser.add_argument("name")
    parser.add_argument("--norm", default="unit", choices=("none", "unit", "standard"))
    parser.add_argument("--features", default="mind", choices=("mind", "network", "both"))
    parser.add_argument("--factor", type=float, default=0.1)
    return parser.parse_args()


def _registers(run: str | Path) -> bool:
    return (Path(run) / NETWORK).exists()


def _stage(run: Path) -> dict[str, Any]:
    """What a run was told that is not the default, and what it reached."""
    kind: Any = VoxelMorphSettings if _registers(run) else RunSettings
    settings = vars(kind.from_toml(run / "config.toml"))
    defaults = vars(kind())
    told = {name: value for name, value in settings.items() if value != defaults[name]}
    for name in ("templates", "maps", "weights"):  # the last parts of paths: folders are one's own
        if name in told:
            parts = [told[name]] if isinstance(told[name], str) else told[name]
            told[name] = ",".join(Path(part).name for part in parts)
    with open(run / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    checked = [row for row in rows if row.get("val_loss")]
    every = settings["log_every"]
    hours = sum(every * settings["batch_size"] / float(row["pairs_per_second"]) for row in rows)
    return {
        "settings": told,
        "pairs": int(rows[-1]["pairs"]),
        "hours": round(hours / 3600, 2),
        "val_loss": round(float(checked[-1]["val_loss"]), 3),
        **{
            name: round(float(checked[-1][name]), 3)
            for name in ("val_alignment", "val_dice")
            if name in checked[-1]
        },
    }


def _card(about: dict[str, Any]) -> str:
    results = (RESULTS / f"{about['name']}.md").read_text()
    measure = "dice" if "val_dice" in about["stages"][0] else "alignment"
    rows = "\n".join(
        f"| {number} | {stage['pairs']:,} | {stage['hours']} | {stage['val_loss']} | "
        f"{stage[f'val_{measure}']} |"
        for number, stage in enumerate(about["stages"], 1)
    )
    kind = "voxelmorph train" if measure == "dice" else "pretrain"
    commands = "\n".join(f"    {_command(kind, stage['settings'])}" for stage in about["stages"])
    title = MORPH if measure == "dice" else FEATURES
    return f"""# {about["name"]}

{title.format(**about)}

| stage | pairs | hours | validation loss | validation {measure} |
|---|---|---|---|---|
{rows}

The commands, whose seed (0 unless named) fixes shapes, pairs, voxels and first weights; `--weights`
is what the stage before left, as float16:

{commands}

SHA-256 of `{WEIGHTS}`: `{about["sha256"]}`.

{results}"""


def _command(kind: str, settings: dict[str, Any]) -> str:
    flags = []
    for name, value in settings.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, (list, tuple)):
            value = ",".join(f"{x:g}" if isinstance(x, float) else str(x) for x in value)
        flags.append(flag if value is True else f"{flag} {shlex.quote(str(value))}")
    return " ".join([f"anyvox {kind} --out RUN", *flags])


if __name__ == "__main__":
    main()
