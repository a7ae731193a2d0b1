"""`anyvox register`: its files, its mistakes, its batches."""

import hashlib
import importlib
import json
from csv import DictReader

import nibabel as nib
import numpy as np
import pytest

from anyvox_keras.cli import main
from anyvox_keras.cli.register import jobs
from anyvox_keras.errors import UserError
from anyvox_keras.registration.deformable.settings import settings_of

#: a bad file -> what the error says
BAD = {
    "missing": "missing.nii.gz",
    "text": "cannot be read",
    "flat": "3D",
    "series": "one volume",
    "constant": "varies",
    "nothing": "finite",
}


def run(images, out, *more, fixed="fixed", moving="moving"):
    files = ["--fixed", str(images[fixed]), "--moving", str(images[moving])]
    return main(["register", *files, "--out", str(out), *map(str, more)])


def refused(capsys, reason):
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("anyvox: error: ")
    assert reason in lines[0]
    return True


@pytest.mark.parametrize("which", ["fixed", "moving"])
@pytest.mark.parametrize("bad", BAD)
def test_bad_image_is_one_line(images, tmp_path, capsys, which, bad):
    assert run(images, tmp_path / "out", **{which: bad}) == 2
    assert refused(capsys, BAD[bad])
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("option", "file", "reason"),
    [
        ("--fixed-mask", "small_mask", "(20, 18, 16)"),
        ("--fixed-mask", "empty_mask", "above zero"),
        ("--fixed-mask", "missing", "--fixed-mask"),
        ("--fixed-seg", "small_mask", "(20, 18, 16)"),
        ("--fixed-seg", "fixed", "integer"),
    ],
)
def test_bad_mask_or_labels_are_one_line(images, tmp_path, capsys, option, file, reason):
    assert run(images, tmp_path / "out", option, images[file]) == 2
    assert refused(capsys, reason)


def test_unknown_preset_is_one_line(images, tmp_path, capsys):
    more = ("--features", "both", "--weights", "nonsense")
    assert run(images, tmp_path / "out", *more) == 2
    assert refused(capsys, "nonsense")


def test_folder_that_cannot_be_written_is_one_line(images, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(images, tmp_path / "file" / "out") == 2
    assert refused(capsys, "cannot be written")
    assert run(images, tmp_path / "file") == 2
    assert refused(capsys, "expected a folder")


def test_old_results_are_kept(images, tmp_path, capsys):
    (tmp_path / "moved.nii.gz").write_text("precious")
    assert run(images, tmp_path) == 2
    assert refused(capsys, "exists already")
    assert (tmp_path / "moved.nii.gz").read_text() == "precious"


def test_affine_and_initial_reach_the_registration(images, tmp_path, monkeypatch):
    from anyvox_keras import registration

    asked = []

    def register(fixed, moving, affine=None, initial=None):
        asked.append((affine, initial))
        raise UserError("enough")

    monkeypatch.setattr(registration, "register", register)
    start = images["fixed"].with_name("start.tfm")
    start.write_text("")
    for more in ((), ("--affine",), ("--affine", "rigid"), ("--initial", start)):
        assert run(images, tmp_path / "out", *more) == 2
    assert asked == [(None, None), ("affine", None), ("rigid", None), (None, start)]


def test_bad_affine_or_initial_is_one_line(images, tmp_path, capsys):
    assert run(images, tmp_path / "out", "--affine", "similarity") == 2
    assert refused(capsys, "--affine")
    assert run(images, tmp_path / "out", "--initial", images["missing"]) == 2
    assert refused(capsys, "--initial")
    assert run(images, tmp_path / "out", "--initial", images["fixed"]) == 2
    assert refused(capsys, "expected a warp")


def test_a_pair_of_other_grids_with_a_bad_voxel(images, tmp_path, capsys):
    out = tmp_path / "out"
    labels = ("--fixed-seg", images["fixed_seg"], "--moving-seg", images["moving_seg"])
    (tmp_path / "names.txt").write_text("3 a ball\n")
    named = ("--label-names", tmp_path / "names.txt")
    assert run(images, out, *labels, *named, fixed="spoilt") == 0
    captured = capsys.readouterr()
    assert "1 voxels are not finite" in captured.err
    assert "mean Dice" in captured.out
    metrics = json.loads((out / "metrics.json").read_text())
    expected = {"dice", "mean_dice", "folds_percent", "sd_log_jacobian", "seconds"}
    assert metrics.keys() >= expected
    assert metrics["dice"]["3"]["after"] > metrics["dice"]["3"]["before"]
    assert (out / "report.png").stat().st_size > 10_000
    made = metrics["provenance"]
    digest = hashlib.sha256(images["moving"].read_bytes()).hexdigest()
    assert made["inputs"][str(images["moving"])] == digest
    assert "anyvox register --fixed" in made["command"]
    report = (out / "report.html").read_text(encoding="utf-8")
    for words in (digest, "<td>a ball</td>", f"--out {out}", "checkerboard", "<td>keras</td>"):
        assert words in report
    fixed = nib.load(images["fixed"])
    for name, kind in (("moved.nii.gz", "f"), ("moved_seg.nii.gz", "u")):
        saved = nib.load(out / name)
        assert saved.get_data_dtype().kind == kind
        assert saved.shape == fixed.shape
        np.testing.assert_allclose(saved.affine, fixed.affine)
    applied = ["apply", "--warp", out / "warp.nii.gz", "--image", images["moving"]]
    again = [*applied, "--reference", images["fixed"], "--out", tmp_path / "again.nii.gz"]
    assert main([str(word) for word in again]) == 0
    moved = nib.load(out / "moved.nii.gz").get_fdata()
    np.testing.assert_allclose(nib.load(tmp_path / "again.nii.gz").get_fdata(), moved, atol=1e-2)


def test_bad_landmarks_memory_or_preset_are_one_line(images, tmp_path, capsys):
    points = tmp_path / "points.csv"
    points.write_text("x,y,z\n1,2,3\n")
    assert run(images, tmp_path / "out", "--fixed-points", points) == 2
    assert refused(capsys, "both images")
    more = ("--fixed-points", points, "--moving-points", images["missing"])
    assert run(images, tmp_path / "out", *more) == 2
    assert refused(capsys, "--moving-points")
    for value, reason in (("0.5", "at least"), ("0", "--memory"), ("much", "--memory")):
        assert run(images, tmp_path / "out", "--memory", value) == 2
        assert refused(capsys, reason)
    assert run(images, tmp_path / "out", "--preset", "best") == 2
    assert refused(capsys, "--preset")


def register_module():
    # The attribute of that name is what a sub-command's module holds: the command.
    return importlib.import_module("anyvox_keras.cli.register")


@pytest.fixture
def recorded(monkeypatch):
    """Replace the registration; keep what it was asked for."""
    asked = []

    def register_pair(options, out, overwrite, precision=None):
        asked.append({key: value for key, value in options.items() if value})
        if "fail" in out.name:
            raise RuntimeError("no\nmemory")
        dice = {"before": 0.5, "after": 0.25 * len(asked)}
        verdict = "FAIL" if "worse" in out.name else "WARN" if len(asked) == 1 else "PASS"
        quality = {"verdict": verdict, "reasons": ["folds", "labels"]}
        found = {"mean_dice": dice, "folds_percent": 0.125, "seconds": 3.0, "quality": quality}
        (out / "metrics.json").write_text(json.dumps(found))
        return f"{out}: done", verdict

    monkeypatch.setattr(register_module(), "register_pair", register_pair)
    return asked


def test_a_result_not_to_be_trusted_exits_3_and_is_written(images, tmp_path, recorded):
    assert run(images, tmp_path / "worse") == 3
    assert (tmp_path / "worse/metrics.json").exists()
    rows = [["name", "fixed", "moving"], ["a", "{fixed}", "{moving}"]]
    csv = table(tmp_path / "pairs.csv", images, rows)
    assert main(["register", "--batch", str(csv), "--out", str(tmp_path / "out")]) == 0
    rows.append(["worse", "{fixed}", "{moving}"])
    csv = table(tmp_path / "pairs.csv", images, rows)
    (tmp_path / "out" / "a" / "report.html").write_text("")
    assert main(["register", "--batch", str(csv), "--out", str(tmp_path / "out")]) == 3
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert 0 < page.index("<td>worse</td>") < page.index('href="a/report.html"')


def settings_asked(monkeypatch, asked):
    """Keep what `register` is asked for, and end there."""

    def ended(**given):
        asked.clear()
        asked.update(given)
        raise UserError("ended")

    monkeypatch.setattr("anyvox_keras.registration.register", ended)


def test_a_file_and_single_settings_reach_the_search(images, tmp_path, monkeypatch, capsys):
    asked = {}
    settings_asked(monkeypatch, asked)
    config = tmp_path / "mine.toml"
    config.write_text(
        "smoothness = 1\nfixed-clip = [0, 50]\n[set]\nadam.passes = 5\nboth_ways = true"
    )
    more = ["--config", config, "--smoothness", "4"]
    assert run(images, tmp_path / "out", *more) == 2
    settings = asked["settings"]
    # flags win over the file
    assert (settings.adam.smoothness, settings.adam.passes, settings.both_ways) == (4, 5, True)
    assert tuple(asked["fixed_clip"]) == (0, 50)
    more = ["--config", config, "--set", "levels=4x2+2x3", "--set", "adam.passes=1"]
    assert run(images, tmp_path / "out", *more) == 2
    settings = asked["settings"]
    assert [(level.grid, level.half_width) for level in settings.levels] == [(4, 2), (2, 3)]
    assert (settings.adam.smoothness, settings.adam.passes, settings.both_ways) == (1, 1, False)
    capsys.readouterr()


@pytest.mark.parametrize("job", jobs())
def test_every_job_is_understood(images, tmp_path, monkeypatch, capsys, job):
    asked = {}
    settings_asked(monkeypatch, asked)
    assert run(images, tmp_path / "out", "--config", job) == 2
    assert capsys.readouterr().err.splitlines() == ["anyvox: error: ended"]
    assert "features" in asked or asked["settings"] != settings_of("default")


@pytest.mark.parametrize(
    ("text", "words", "reason"),
    [
        ("smooth = 1", [], "smooth"),
        ("fixed = 'a.nii.gz'", [], "fixed"),
        ("smoothness = 'much'", [], "much"),
        ("", ["--set", "adam.smooth=1"], "adam.smooth"),
        ("", ["--set", "adam.passes=1.5"], "1.5"),
        ("", ["--set", "levels=3x1"], "grid=3"),
        ("", ["--set", "dilations=[2, 0]"], "dilations=(2, 0)"),
        ("", ["--set", "passes"], "KEY=VALUE"),
        ("", ["--config", "no-such-job"], "no-such-job"),
    ],
)
def test_bad_settings_are_one_line(images, tmp_path, capsys, text, words, reason):
    config = tmp_path / "mine.toml"
    config.write_text(text)
    assert run(images, tmp_path / "out", "--config", config, *words) == 2
    assert refused(capsys, reason)


def test_smoothness_capture_and_iterations_reach_the_search(images, tmp_path, monkeypatch, capsys):
    asked = {}
    settings_asked(monkeypatch, asked)
    options = ["--smoothness", "0", "--capture", "30", "--iterations", "7"]
    assert run(images, tmp_path, *options, "--preset", "diffeomorphic") == 2
    settings = asked["settings"]
    assert (settings.adam.smoothness, settings.capture, settings.adam.iterations) == (0, 30, 7)
    assert settings.adam.velocity
    assert "preset" not in asked
    capsys.readouterr()
    assert run(images, tmp_path, "--capture", "-1") == 2
    assert refused(capsys, "capture: expected more than 0 mm")


def table(path, images, rows):
    lines = [",".join(row) for row in rows]
    path.write_text("\n".join(lines).format(**images))
    return path


def test_batch_goes_on_past_a_failed_pair_and_resumes(images, tmp_path, capsys, recorded):
    rows = [
        ["name", "fixed", "moving", "fixed-clip", "features", "memory"],
        ["one", "{fixed}", "{moving}", "0 5", "", "8"],
        ["fail", "{fixed}", "{moving}", "", "", ""],
        ["absent", "{fixed}", "nowhere.nii", "", "", ""],
        ["", "in/fixed.nii.gz", "{moving}", "", "mind", ""],
    ]
    csv, out = table(tmp_path / "pairs.csv", images, rows), tmp_path / "out"
    command = ["register", "--batch", str(csv), "--out", str(out)]
    assert main(command) == 1
    assert sorted(path.parent.name for path in out.glob("*/metrics.json")) == ["0004", "one"]
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        f"anyvox: error: {out}/fail: no memory",
        f"anyvox: error: {out}/absent: {tmp_path}/nowhere.nii: expected the file of --moving, "
        "found none",
    ]
    summary = [
        ["fail", "failed"],
        ["absent", "failed"],
        ["one", "WARN", "0.5000", "0.2500", "0.1250", "3.0"],
        ["0004", "PASS", "0.5000", "0.7500", "0.1250", "3.0"],
        ["mean", "0.5000", "0.5000", "0.1250", "3.0"],
    ]
    rows = list(DictReader((out / "metrics.csv").open()))
    assert [row["pair"] for row in rows] == ["fail", "absent", "one", "0004"]
    assert rows[2]["verdict"] == "WARN"
    assert rows[2]["reasons"] == "folds; labels"
    assert float(rows[3]["mean_dice_after"]) == 0.75
    assert [line.split() for line in shown.out.splitlines()[-6:-1]] == summary
    assert recorded[0]["fixed_clip"] == (0, 5)
    assert recorded[0]["memory"] == 8
    assert recorded[-1]["features"] == "mind"
    assert recorded[-1]["fixed"] == tmp_path / "in/fixed.nii.gz"
    count = len(recorded)
    assert main(command) == 1
    assert len(recorded) == count + 1  # only the failed one again
    again = capsys.readouterr().out.splitlines()
    assert again[0] == f"{out}/one: done already"
    assert [line.split() for line in again[-6:-1]] == summary


def test_a_cell_of_zero_or_one_is_a_value_where_the_flag_takes_one(
    images, tmp_path, monkeypatch, capsys
):
    asked = {}
    settings_asked(monkeypatch, asked)
    rows = [
        ["fixed", "moving", "smoothness", "capture", "ras"],
        ["{fixed}", "{moving}", "0", "1", "1"],
    ]
    csv = table(tmp_path / "pairs.csv", images, rows)
    assert main(["register", "--batch", str(csv), "--out", str(tmp_path / "out")]) == 1
    settings = asked["settings"]
    assert (settings.adam.smoothness, settings.capture, asked["ras"]) == (0, 1, True)
    capsys.readouterr()


def test_channels_and_guides_reach_the_search(images, tmp_path, monkeypatch, capsys):
    asked = {}
    settings_asked(monkeypatch, asked)
    second = images["fixed_seg"]
    more = ["--fixed-channels", second, "--fixed-channels", images["mask"], "--label-weight"]
    assert run(images, tmp_path / "out", *more, "--landmark-weight", "2.5", "--iterations", 9) == 2
    assert asked["fixed_channels"] == (second, images["mask"])
    assert "moving_channels" not in asked
    assert (asked["label_weight"], asked["landmark_weight"]) == (1, 2.5)
    rows = [
        ["fixed", "moving", "fixed-channels", "moving-channels", "label-weight", "landmark-weight"],
        ["{fixed}", "{moving}", "{fixed_seg};{mask}", "{moving_seg}", "0.5", "1"],
    ]
    csv = table(tmp_path / "pairs.csv", images, rows)
    words = ["register", "--batch", str(csv), "--out", str(tmp_path / "out"), "--iterations", "9"]
    assert main(words) == 1
    assert asked["fixed_channels"] == (second, images["mask"])
    assert asked["moving_channels"] == (images["moving_seg"],)
    assert (asked["label_weight"], asked["landmark_weight"]) == (0.5, 1)
    capsys.readouterr()


def test_a_channel_that_is_absent_is_one_line(images, tmp_path, capsys):
    assert run(images, tmp_path / "out", "--moving-channels", images["missing"]) == 2
    assert refused(capsys, "--moving-channels")


def test_channels_are_written_and_their_files_noted(images, tmp_path, capsys):
    both = ["--fixed-channels", images["fixed_seg"], "--moving-channels", images["moving_seg"]]
    out = tmp_path / "out"
    assert run(images, out, *both, "--preset", "none") in (0, 3)
    assert nib.load(out / "moved.nii.gz").shape == (20, 18, 16, 2)
    inputs = json.loads((out / "metrics.json").read_text())["provenance"]["inputs"]
    digest = hashlib.sha256(images["moving_seg"].read_bytes()).hexdigest()
    assert inputs[str(images["moving_seg"])] == digest
    capsys.readouterr()


def test_results_belong_to_the_files_and_settings_of_their_row(images, tmp_path, capsys, recorded):
    first = ["fixed", "moving", "features"], ["{fixed}", "{moving}", "mind"]
    csv, out = table(tmp_path / "pairs.csv", images, first), tmp_path / "out"
    command = ["register", "--batch", str(csv), "--out", str(out)]
    assert main(command) == 0
    assert main(command) == 0
    assert len(recorded) == 1
    # a row put in before, and another preset
    inserted = first[0], ["{moving}", "{fixed}", "mind"], first[1]
    for rows, options, reason in (
        (inserted, [], "another fixed, moving"),
        (first, ["--preset", "convexadam"], "another preset"),
    ):
        table(tmp_path / "pairs.csv", images, rows)
        capsys.readouterr()
        assert main([*command, *options]) == 1
        assert f"0001: the results were made with {reason}" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    # a smoothness of zero is a setting; so is what a killed run had begun to replace
    capsys.readouterr()
    assert main([*command, "--smoothness", "0"]) == 1
    assert "0001: the results were made with another smoothness" in capsys.readouterr().err
    noted = (out / "0001" / ".made_from.json").read_text()
    (out / "0001" / ".made_from.json").write_text("null\n")
    assert main(command) == 1
    assert "it is not known what the results were made from" in capsys.readouterr().err
    (out / "0001" / ".made_from.json").write_text(noted)
    (out / "0001" / "metrics.json").write_text("[]")
    count = len(recorded)
    assert main(command) == 0
    assert len(recorded) == count + 1  # a damaged result is made anew


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([["fixed", "moving"]], "at least one pair"),
        ([["fixed", "movving"], ["a", "b"]], "movving"),
        ([["fixed", "moving"], ["a", ""]], "moving"),
        ([["fixed", "moving", "fixed_clip"], ["a", "b", "1"]], "requires 2 arguments"),
        ([["fixed", "moving", "memory"], ["a", "b", "much"]], "'much' is not a valid float"),
        (
            [["fixed", "moving", "affine"], ["a", "b", "maybe"]],
            "not one of 'translation', 'rigid', 'affine'",
        ),
        ([["fixed", "moving"], ["a", "b", "c"]], "a value per column"),
        ([["name", "fixed", "moving"], ["x", "a", "b"], ["x", "c", "d"]], "name of its own"),
        ([["name", "fixed", "moving"], ["x", "a", "b"], ["x/", "c", "d"]], "name of its own"),
        ([["name", "fixed", "moving"], ["x", "a", "b"], ["y/../X", "c", "d"]], "name of its own"),
        ([["name", "fixed", "moving"], ["../x", "a", "b"]], "names of folders in"),
        ([["name", "fixed", "moving"], ["/x", "a", "b"]], "names of folders in"),
        ([["name", "fixed", "moving"], ["a/..", "a", "b"]], "names of folders in"),
        ([["fixed", "moving"], [], [], ["a", "b", "c"]], "line 4"),
        ([["fixed", "moving", "fixed"], ["a", "b", "c"]], "fixed twice"),
        ([["fixed", "moving", "fixed_seg", "fixed-seg"], ["a", "b", "c", "d"]], "fixed_seg twice"),
        ([["fixed", "moving", "memory"], ["a", "b", "0"]], "0.0 is not in the range"),
    ],
)
def test_bad_table_is_one_line(tmp_path, capsys, recorded, rows, reason):
    csv = table(tmp_path / "pairs.csv", {}, rows)
    assert main(["register", "--batch", str(csv), "--out", str(tmp_path / "out")]) == 2
    assert refused(capsys, reason)
    assert not recorded


def test_the_table_of_results_replaces_no_table_of_pairs(images, tmp_path, capsys, recorded):
    csv = table(tmp_path / "metrics.csv", images, [["fixed", "moving"], ["{fixed}", "{moving}"]])
    before = csv.read_text()
    assert main(["register", "--batch", str(csv), "--out", str(tmp_path), "--overwrite"]) == 2
    assert refused(capsys, "would replace an input")
    assert csv.read_text() == before
    assert not recorded


def test_images_by_position_are_fixed_and_moving(images, tmp_path, recorded, monkeypatch):
    pair = [str(images["fixed"]), str(images["moving"])]
    monkeypatch.chdir(tmp_path)
    assert main(["register", *pair, "--affine", "rigid"]) == 0
    assert (tmp_path / "result" / "metrics.json").exists()
    assert run(images, tmp_path / "flags", "--affine", "rigid") == 0
    assert recorded[0] == recorded[1]
    assert (recorded[0]["fixed"], recorded[0]["moving"]) == (images["fixed"], images["moving"])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["a", "b", "c"], "received a b c"),
        (["a"], "received a"),
        (["a", "b", "--fixed", "c"], "received both"),
        (["--fixed", "c"], "received c"),
        (["a", "b", "--batch", "pairs.csv"], "either --batch"),
        (["--fixed", "a", "--moving", "b", "--batch", "pairs.csv"], "either --batch"),
    ],
)
def test_other_than_one_pair_is_one_line(tmp_path, capsys, words, reason):
    assert main(["register", *words, "--out", str(tmp_path / "out")]) == 2
    assert refused(capsys, reason)
    assert not (tmp_path / "out").exists()
