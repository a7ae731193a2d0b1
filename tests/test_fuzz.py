"""Mutated files: what was meant or one line, never a crash, a hang or a giant allocation."""

import gzip
import pickle
import resource
import zlib
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from anyvox_keras.contrastive.run_settings import RunSettings
from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Grid
from anyvox_keras.io import (
    load_affine,
    load_labels,
    load_points,
    load_transform,
    load_volume,
    load_warp,
    read_table,
    save_affine,
    save_points,
    save_volume,
    save_warp,
)
from anyvox_keras.networks import UNet, preset_metadata
from anyvox_keras.networks.checkpoint import read_checkpoint
from anyvox_keras.networks.convert import from_torch
from anyvox_keras.segmentation.layouts import read_class_names
from anyvox_keras.segmentation.run_files import read_classes
from anyvox_keras.templates import TemplateBank
from anyvox_keras.templates.bank_file import HEADER, MAGIC, START, VERSION, read_bank
from anyvox_keras.training.checkpoint import read_facts
from anyvox_keras.training.settings import read_toml

GRID = Grid((6, 5, 7), np.diag([2.0, 2, 3, 1]))
COUNT = 16  # of each of 19 kinds


def originals(folder):
    """A sound file of each kind, and who reads it."""
    array = np.random.default_rng(0).normal(size=GRID.shape).astype("float32")
    labels = (array > 0).astype("int16")
    points = np.arange(9.0).reshape(3, 3)
    for ending in (".nii", ".nii.gz"):
        save_volume(folder / f"image{ending}", array, GRID)
        save_volume(folder / f"labels{ending}", labels, GRID)
    nib.save(nib.MGHImage(array, GRID.affine), folder / "image.mgz")
    save_warp(folder / "warp.nii.gz", array[..., None].repeat(3, -1), GRID, beyond=np.eye(4))
    save_affine(folder / "affine.tfm", np.eye(4))
    for ending in (".csv", ".fcsv", ".mrk.json"):
        save_points(folder / f"points{ending}", points)
    (folder / "pairs.csv").write_text("name,fixed,moving\na,b.nii,c.nii\nd,e.nii,f.nii\n")
    (folder / "config.toml").write_text('steps = 10\nrate = 0.001\ndata = "here"\n')
    (folder / "classes.json").write_text('{"classes": ["front", "back"]}')
    (folder / "dataset.json").write_text('{"labels": {"0": "air", "1": "front"}}')
    with h5py.File(folder / "state", "w") as file:
        file["model/00000"] = array
        file.attrs.update({"step": 3, "best": 0.5})
    turn = sitk.Euler3DTransform((0.0, 0.0, 0.0), 0.1, 0.2, 0.3)
    for ending in (".mat", ".h5"):
        sitk.WriteTransform(turn, str(folder / f"turn{ending}"))
    torch = pytest.importorskip("torch")
    TemplateBank.geometric(2, 16).save(folder / "shapes.bank")
    torch.save({"model.0.weight": torch.zeros(1, 1, 3, 3, 3)}, folder / "network.pth")
    return {
        "image.nii": load_volume,
        "image.nii.gz": load_volume,
        "image.mgz": load_volume,
        "labels.nii": load_labels,
        "labels.nii.gz": load_labels,
        "warp.nii.gz": load_warp,
        "affine.tfm": load_affine,
        "points.csv": load_points,
        "points.fcsv": load_points,
        "points.mrk.json": load_points,
        "pairs.csv": lambda path: read_table(path, "pair"),
        "config.toml": read_toml,
        "classes.json": read_classes,
        "dataset.json": read_class_names,
        "state": read_facts,
        "turn.mat": load_transform,
        "turn.h5": load_transform,
        "shapes.bank": TemplateBank.open,
        "network.pth": read_checkpoint,
    }


def mutated(raw, rng):
    """Cut, fill, flip, double or replace a stretch; within gzip half of the time."""
    packed = raw[:2] == b"\x1f\x8b"
    if packed and rng.random() < 0.5:
        return gzip.compress(mutated(gzip.decompress(raw), rng))
    raw = bytearray(raw)
    start = int(rng.integers(len(raw)))
    length = int(rng.integers(1, 1 + min(64, len(raw))))
    kind = rng.integers(5)
    if kind == 0:
        return bytes(raw[:start])
    if kind == 1:
        raw[start : start + length] = bytes([int(rng.choice([0, 255]))]) * length
    elif kind == 2:
        for place in rng.integers(len(raw), size=4):
            raw[place] ^= 1 << int(rng.integers(8))
    elif kind == 3:
        raw[start:start] = raw[start : start + length]
    else:  # the first bytes hold sizes, types and counts
        place = int(rng.integers(min(len(raw), 352)))
        raw[place : place + 4] = rng.bytes(4)
    return bytes(raw)


def refusal(read, path):
    """What the reader says of a file; nothing where it is read."""
    try:
        read(path)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.filterwarnings("ignore")
def test_mutated_files_are_read_or_refused_in_one_line(tmp_path, rng):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, read in originals(tmp_path).items():
        raw = (tmp_path / name).read_bytes()
        read(tmp_path / name)
        for number in range(COUNT):
            broken = tmp_path / f"{number}-{name}"
            broken.write_bytes(mutated(raw, rng))
            message = refusal(read, broken)
            assert "\n" not in message
            assert not message or broken.name in message
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300_000  # kB


class Hostile:
    """Writes a file where it is unpickled without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_hostile_pickle_executes_nothing(tmp_path, protocol):
    pytest.importorskip("torch")
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Hostile(tmp_path / "owned"), protocol))
    with pytest.raises(UserError, match="not a readable PyTorch checkpoint"):
        read_checkpoint(tmp_path / "a.pth")
    assert not (tmp_path / "owned").exists()


def test_foreign_checkpoints_are_one_line(tmp_path):
    torch = pytest.importorskip("torch")
    for state in (
        {0: torch.zeros(1)},
        {"model.0.weight": torch.zeros(0, 1, 3, 3, 3)},
        {"model.0.weight": torch.quantize_per_tensor(torch.ones(1), 0.1, 0, torch.qint8)},
        [torch.zeros(1)],
    ):
        torch.save(state, tmp_path / "a.pth")
        with pytest.raises(UserError, match=r"a\.pth: "):
            from_torch(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", '{"class_name": "UNet", "config": null}'),
        ("config.json", '{"class_name": "UNet", "config": {"levels": 99}}'),
        ("config.json", '{"class_name": "UNet", "config": {"width": "x"}}'),
        ("config.json", "[]"),
        ("config.json", "{"),
        ("metadata.json", "[]"),
    ],
)
def test_a_damaged_preset_is_one_line(tmp_path, name, text):
    (tmp_path / "config.json").write_text('{"class_name": "UNet", "config": {}}')
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=name) as caught:
        (preset_metadata if name == "metadata.json" else UNet.from_preset)(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_bank_that_claims_a_giant_index_is_damaged(tmp_path):
    header = HEADER.pack(MAGIC, VERSION, zlib.crc32(b""), 1, 0, 2**60)
    (tmp_path / "a.bank").write_bytes(header.ljust(START, b"\0"))
    with pytest.raises(UserError, match="damaged"):
        read_bank(tmp_path / "a.bank")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_settings_are_finite(tmp_path, number):
    (tmp_path / "a.toml").write_text(f"temperature = {number}\n")
    with pytest.raises(UserError, match="temperature: expected"):
        RunSettings.from_toml(tmp_path / "a.toml")
