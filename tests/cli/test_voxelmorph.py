"""`anyvox voxelmorph`: train on synthetic pairs, scans and both; resume; register; refuse."""

import csv
import json
import shutil

import h5py
import keras
import nibabel as nib
import numpy as np
import pytest
from cli.conftest import blob, write
from fake_stream import FakeStream

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.cli import main
from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Volume, min_max
from anyvox_keras.io import load_transform, load_warp
from anyvox_keras.ops import compose
from anyvox_keras.voxelmorph import load_network, register_scans
from anyvox_keras.voxelmorph.pairs import ScanSet, scan_files

TINY = [
    "--encoder", "4", "--decoder", "4,4", "--integration", "1", "--steps", "4", "--side", "16",
    "--shapes", "4", "--log-every", "1", "--validate-every", "2", "--validation-pairs", "2",
]  # fmt: skip
# A network of a few steps folds: its verdict may be FAIL, with all files written.
JUDGED = (0, 3)
CENTRES = ((8, 8, 8), (9, 8, 7), (7, 9, 8))


class Stream(FakeStream):
    """In the place of the `SyntheticStream`, whose graph takes long to compile."""

    def __init__(self, bank, side, batch_size, seed, steps, fixed=False, maps=None):
        super().__init__(side, batch_size, seed, steps, fixed)
        self.classes = 8

    def held_out(self, steps):
        return Stream(None, self.layer.side, self.batch_size, self.seed + 1, steps, fixed=True)


@pytest.fixture(autouse=True)
def _cheap_stream(monkeypatch):
    from anyvox_keras.voxelmorph import voxelmorph_run

    monkeypatch.setattr(voxelmorph_run, "SyntheticStream", Stream)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Scans of 16^3 in a folder, a table of them with labels, and a tiny extractor."""
    folder = tmp_path_factory.mktemp("voxelmorph")
    (folder / "scans").mkdir()
    rows = [["image", "labels"]]
    for number, centre in enumerate(CENTRES):
        image = blob((16, 16, 16), centre)
        write(folder / "scans" / f"{number}.nii.gz", image)
        write(folder / f"labels_{number}.nii.gz", (image > 60).astype("uint8"))
        rows.append([f"scans/{number}.nii.gz", f"labels_{number}.nii.gz"])
    (folder / "scans.csv").write_text("\n".join(map(",".join, rows)))
    avx.UNet(width=2, levels=1, output_channels=3, seed=0).save_to_preset(folder / "extractor")
    return folder


def train(folder, out, *words):
    command = ["voxelmorph", "train", "--out", out, "--extractor", folder / "extractor", *TINY]
    return main([*map(str, command), *map(str, words)])


def rows(folder):
    with open(folder / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def arrays(folder):
    with h5py.File(folder / "state") as file:
        return {f"{g}/{k}": file[g][k][()] for g in ("model", "optimizer") for k in file[g]}


def refused(capsys, reason):
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert reason in lines[0]
    return True


def test_trains_on_scans_by_features_computed_once(place, tmp_path, monkeypatch, capsys):
    seen = []
    compute = avx.FeatureExtractor.__call__
    monkeypatch.setattr(
        avx.FeatureExtractor, "__call__", lambda self, x: seen.append(0) or compute(self, x)
    )
    out = tmp_path / "run"
    assert train(place, out, "--data", place / "scans.csv") == 0
    printed = capsys.readouterr().out
    for told in ("parameters", "scans: 3, 16 x 16 x 16", "val_dice", "pairs_per_second"):
        assert told in printed
    assert len(seen) == len(CENTRES)
    (named,) = (out / "features").glob("00001-*.npy")
    stored = np.load(named)
    assert stored.shape == (16, 16, 16, 3)
    # Labels are measured, not learnt from.
    assert rows(out)[0].keys() >= {"features", "val_features"}
    assert "labels" not in rows(out)[0]
    last = rows(out)[-1]
    assert 0 < float(last["val_dice"]) <= 1
    assert float(last["val_folds_percent"]) == 0
    assert (out / "best.weights.h5").exists()


def test_a_killed_run_ends_as_an_unbroken_one(place, tmp_path, monkeypatch):
    """What a kill leaves is what lies there before the state of step 3 is saved."""
    from anyvox_keras.training.checkpoint import Checkpoint

    save = Checkpoint.save

    def leaving(self):
        if self.step == 3:
            shutil.copytree(self.folder, tmp_path / "broken")
        save(self)

    words = ("--templates", "geometric", "--validation-pairs", 0)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", leaving)
        patch.setattr(Checkpoint, "due", lambda self: True)
        assert train(place, tmp_path / "unbroken", *words) == 0
    assert int(rows(tmp_path / "broken")[-1]["step"]) == 3
    assert train(place, tmp_path / "broken", *words, "--resume") == 0
    expected, found = (arrays(tmp_path / name) for name in ("unbroken", "broken"))
    for name, array in expected.items():
        np.testing.assert_array_equal(array, found[name], err_msg=name)
    for one, two in zip(*(rows(tmp_path / n) for n in ("unbroken", "broken")), strict=True):
        for name in ("step", "loss", "labels", "dice", "folds_percent"):
            assert one[name] == two[name], name


def test_goes_on_from_weights_on_both_by_a_file_of_settings(place, tmp_path, capsys):
    first = avx.VoxelMorph(encoder=(4,), decoder=(4, 4), steps=1, seed=3)
    first.save(tmp_path / "first.keras")
    settings = {
        "data": str(place / "scans.csv"), "templates": "geometric", "loss": "mi,dice",
        "weights": str(tmp_path / "first.keras"), "steps": 1, "side": 16, "shapes": 4,
        "learning_rate": 0.0, "validation_pairs": 0,
    }  # fmt: skip
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (tmp_path / "run.toml").write_text("\n".join(lines))
    out = tmp_path / "run"
    command = ["voxelmorph", "train", "--out", out, "--config", tmp_path / "run.toml"]
    assert main([str(word) for word in command]) == 0
    printed = capsys.readouterr().out
    assert "synthetic pairs: 16^3" in printed
    assert "scans: 3, 16 x 16 x 16" in printed
    only = {name: float(x) for name, x in rows(out)[0].items() if x}
    assert 0 < only["dice"] <= 1
    # Scans with labels count in the Dice, too.
    assert only["image"] < 0 < only["labels"]
    for one, two in zip(first.get_weights(), load_network(out).get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_scans_may_have_another_grid(place):
    scans = ScanSet(scan_files(place / "scans.csv"), spacing=4.0)
    assert scans.grid.shape == (8, 8, 10)
    assert scans.images[0].shape == (8, 8, 10, 1)
    assert [labels.shape for labels in scans.labels] == [(8, 8, 10, 2)] * 3
    assert scans.masks is None


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--data", "{tmp}/no"], "no such file or folder"),
        (["--data", "{tmp}/one"], "two scans"),
        (["--data", "{tmp}/column.csv"], "expected columns"),
        (["--data", "{tmp}/split.csv"], "split train or validation"),
        (["--data", "{tmp}/lost.csv"], "no such file"),
        (["--data", "{tmp}/text"], "cannot be read"),
        (["--data", "{place}/scans", "--loss", "dice"], "labels of the scans"),
        (["--data", "{place}/scans", "--templates", "geometric", "--loss", "mi"], "dice among"),
        (["--data", "{place}/scans", "--extractor", "nonsense"], "nonsense"),
        (["--loss", "cosine"], "loss"),
        (["--deform-std", "3"], "deform_std"),
        (["--flow-stride", "3"], "flow_stride"),
        (["--config", "{tmp}/unknown.toml"], "unknown key"),
        (["--config", "{tmp}/no.toml"], "cannot be read"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_run(place, tmp_path, capsys, words, reason):
    (tmp_path / "one").mkdir()
    write(tmp_path / "one" / "a.nii.gz", blob((8, 8, 8), (4, 4, 4)))
    (tmp_path / "text").mkdir()
    for name in "ab":
        (tmp_path / "text" / f"{name}.nii.gz").write_text("no image")
    (tmp_path / "column.csv").write_text("image,contrast\na,b\n")
    (tmp_path / "split.csv").write_text("image,split\none/a.nii.gz,test\n")
    (tmp_path / "lost.csv").write_text("image\nlost.nii.gz\n")
    (tmp_path / "unknown.toml").write_text("contrast = 1")
    words = [word.format(tmp=tmp_path, place=place) for word in words]
    assert train(place, tmp_path / "run", *words) == 2
    assert refused(capsys, reason)
    assert not (tmp_path / "run").exists()


def test_a_mistake_leaves_the_old_run(place, tmp_path, capsys):
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "state").write_text("precious")
    assert train(place, tmp_path) == 2
    assert refused(capsys, "--resume")
    assert train(place, tmp_path, "--overwrite", "--loss", "cosine") == 2
    assert (tmp_path / "state").read_text() == "precious"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network that moves things: its flow is not as small as untrained ones are."""
    path = tmp_path_factory.mktemp("network") / "network.keras"
    model = avx.VoxelMorph(
        encoder=(4,), decoder=(4, 4), steps=2, flow_stride=2, conventions="0.2", seed=0
    )
    flow = model.get_layer("flow")
    flow.set_weights([1e4 * w for w in flow.get_weights()])
    model.save(path)
    return path


def register(network, images, out, *more):
    command = ["--run", network, "--fixed", images["fixed"], "--moving", images["moving"]]
    return main(["voxelmorph", "register", *map(str, [*command, "--out", out, *more])])


def test_registers_images_of_other_grids(network, images, tmp_path, capsys):
    """A table, refined; then the same pair again, refused."""
    text = (
        "name,fixed,moving,fixed-seg,moving-seg,refine,loss,smoothness\n"
        "one,{fixed},{moving},{fixed_seg},{moving_seg},30,mi,0.01\n"
    )
    (tmp_path / "pairs.csv").write_text(text.format(**images))
    words = ["--run", network, "--batch", tmp_path / "pairs.csv", "--out", tmp_path / "out"]
    assert main(["voxelmorph", "register", *map(str, words)]) in JUDGED
    assert "mean Dice" in capsys.readouterr().out
    out = tmp_path / "out" / "one"
    expected = {"moved", "moved_seg", "warp", "inverse_warp"}
    assert {path.name for path in out.iterdir()} == {
        *(f"{name}.nii.gz" for name in expected), "affine.tfm", "report.png", "report.html",
        "metrics.json", ".made_from.json",
    }  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["dice"]["3"]["after"] > metrics["dice"]["3"]["before"]
    fixed, moved = nib.load(images["fixed"]), nib.load(out / "moved.nii.gz")
    assert moved.shape == fixed.shape
    np.testing.assert_allclose(moved.affine, fixed.affine)
    assert nib.load(out / "inverse_warp.nii.gz").shape[:3] == nib.load(images["moving"]).shape
    assert register(network, images, out) == 2
    assert refused(capsys, "exists already")


def test_the_warp_is_what_the_network_says(network, tmp_path):
    fixed, moving = (blob((16, 16, 16), centre) for centre in CENTRES[:2])
    paths = {
        name: write(tmp_path / f"{name}.nii.gz", image, np.eye(4))
        for name, image in (("fixed", fixed), ("moving", moving))
    }
    assert register(network, paths, tmp_path / "out") in JUDGED
    shift, _ = load_network(network).register(
        *(min_max(image)[None, ..., None] for image in (fixed, moving))
    )
    assert np.abs(shift).max() > 0.3
    found = load_warp(tmp_path / "out" / "warp.nii.gz").to_voxels()
    np.testing.assert_allclose(found, shift[0], atol=1e-4)


def test_how_a_scan_is_stored_does_not_matter(network):
    """The same pair with its first axis stored from right to left."""
    fixed, moving = (blob((16, 16, 16), centre) for centre in CENTRES[:2])
    model = load_network(network)
    straight = register_scans(model, fixed, moving)
    turned = np.diag([-1.0, 1, 1, 1])
    turned[0, 3] = 15
    pair = (Volume(image[::-1].copy(), turned) for image in (fixed, moving))
    found = register_scans(model, *pair)
    np.testing.assert_allclose(found.moved[::-1], straight.moved, atol=1e-3)


def test_the_packaged_network_is_the_default_after_an_affine_stage(images, tmp_path, capsys):
    """From the first two words on, as the help says; `none` leaves the affine stage out."""
    words = [images["fixed"], images["moving"], "--out", tmp_path / "out"]
    assert main(["voxelmorph", "register", *map(str, words)]) in JUDGED
    matrix = load_transform(tmp_path / "out" / "affine.tfm").matrix
    assert np.abs(matrix - np.eye(4)).max() > 1e-3
    words = [*words, "--affine", "none", "--overwrite"]
    assert main(["voxelmorph", "register", *map(str, words)]) in JUDGED
    matrix = load_transform(tmp_path / "out" / "affine.tfm").matrix
    np.testing.assert_allclose(matrix, np.eye(4), atol=1e-9)
    assert "anyvox-morph" in (tmp_path / "out" / "report.html").read_text()


def test_large_scans_are_seen_in_fewer_voxels(network):
    """The displacement comes back on the scan's own grid."""
    seen = []
    model = load_network(network)
    fixed, moving = (blob((20, 16, 12), centre) for centre in CENTRES[:2])
    ask = model.register
    model.register = lambda *pair: seen.append(pair[0].shape) or ask(*pair)
    found = register_scans(model, fixed, moving, voxels=480)
    assert seen == [(1, 10, 8, 8, 1)]
    assert found.displacement.shape == (20, 16, 12, 3)
    register_scans(model, fixed, moving, voxels=20 * 16 * 12)
    assert seen[1:] == [(1, 20, 16, 12, 1)]


def test_every_pass_goes_on_from_the_one_before(network):
    fixed, moving = (min_max(blob((16, 16, 16), c))[None, ..., None] for c in CENTRES[:2])
    model = load_network(network)
    first, moved = model.register(fixed, moving, both_ways=True)
    second, _ = model.register(fixed, moved, both_ways=True)
    expected = to_numpy(compose(first, second))
    found = register_scans(model, fixed[0, ..., 0], moving[0, ..., 0], passes=2, both_ways=True)
    np.testing.assert_allclose(found.displacement, expected[0], atol=1e-3)
    assert np.abs(expected - first).max() > 0.05
    with pytest.raises(UserError, match="passes: expected at least 1"):
        register_scans(model, fixed[0, ..., 0], moving[0, ..., 0], passes=0)


def test_the_descent_of_register_ends_it(network):
    """From another start than its own search it comes to about the same place."""
    fixed, moving = (blob((24, 20, 20), centre) for centre in ((12, 10, 10), (13, 10, 9)))
    plain = register_scans(load_network(network), fixed, moving)
    found = register_scans(load_network(network), fixed, moving, iterations=60)
    error = [np.abs(x.moved - fixed).mean() for x in (plain, found)]
    assert error[1] < 0.5 * error[0]


def test_refines_by_features(network, images, tmp_path, place):
    more = ("--refine", 2, "--extractor", place / "extractor", "--fixed-mask", images["mask"])
    assert register(network, images, tmp_path / "out", *more) in JUDGED
    assert (tmp_path / "out" / "report.png").stat().st_size > 10_000


SEG = "{tmp}/in/fixed_seg.nii.gz"
LABELS = ("--fixed-seg", SEG, "--moving-seg", "{tmp}/in/moving_seg.nii.gz")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--run", "{tmp}/no"], "no such run or file"),
        (["--run", "{tmp}"], "anyvox voxelmorph train"),
        (["--run", "{tmp}/other.keras"], "expected a VoxelMorph"),
        (["--run", "{tmp}/text.keras"], "cannot be loaded"),
        (["--run", "{tmp}/two.keras"], "one channel"),
        (["--fixed", "{tmp}/in/series.nii.gz"], "one volume"),
        (["--moving", "{tmp}/no.nii.gz"], "--moving"),
        (["--refine", "-1"], "--refine"),
        (["--refine", "1", "--extractor", "nonsense"], "nonsense"),
        (["--fixed-clip", "5", "1"], "LO below HI"),
        (["--batch", "pairs.csv"], "either --batch"),
        ([*LABELS, "--label-weight"], "beside a network"),
        (["--fixed-channels", SEG, "--moving-channels", LABELS[-1]], "one channel of each image"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(network, images, tmp_path, capsys, words, reason):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "other.keras")
    avx.VoxelMorph(2, encoder=(2,), decoder=(2,)).save(tmp_path / "two.keras")
    (tmp_path / "text.keras").write_text("no network")
    words = [word.format(tmp=tmp_path) for word in words]
    assert register(network, images, tmp_path / "out", *words) == 2
    assert refused(capsys, reason)
    assert not list((tmp_path / "out").glob("*"))
