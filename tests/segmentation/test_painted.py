"""Images painted from label maps: what is drawn, what is learnt, what is left alone."""

import keras
import numpy as np
import pytest
from segmentation.made_data import made_folder, made_pair, write

from anyvox_keras.backend import to_numpy
from anyvox_keras.segmentation import (
    Case,
    CropStream,
    PaintedCrops,
    SegmentationAugmentation,
    SegmentationRun,
    SegmentationSettings,
    load_run,
)

PLAIN = SegmentationAugmentation(
    rescaled=False,
    **dict.fromkeys(("noise", "bias", "gibbs", "gamma", "blur", "sharpen", "affine")),
)
FLAT = {"mixture": {"std": 0, "empty_background": 0}, **dict.fromkeys(
    ("texture", "bias", "spike", "contrast", "blur", "gibbs", "sharpen", "resolution")
)}  # fmt: skip


def cases():
    """A scan, and a label map whose second class lies inside another structure."""
    image, labels = made_pair(0)
    inside = np.where(labels == 2, 3, labels).astype("int32")
    return [
        Case("scan", image / image.max(), labels.astype("int32")),
        Case("map", np.zeros(labels.shape, "float32"), (labels == 2).astype("int32"), inside),
    ]


def test_crops_of_scans_and_of_label_maps_are_mixed():
    batch = CropStream(cases(), side=8, painted=0.75).batch(range(400))
    assert batch["painted"].mean() == pytest.approx(0.75, abs=0.06)
    assert not batch["image"][batch["painted"]].any()
    painted, scans = (batch["structures"][batch["painted"] == kind] for kind in (True, False))
    assert set(np.unique(painted)) == {0, 1, 3}
    np.testing.assert_array_equal(batch["label_map"][batch["painted"]], painted == 3)
    np.testing.assert_array_equal(scans, batch["label_map"][~batch["painted"]])
    assert "painted" not in CropStream(cases()[:1], side=8).batch(range(2))


def test_each_structure_gets_a_shade_of_its_own_and_scans_stay():
    layer = PaintedCrops(4, PLAIN, FLAT, std=0)
    batch = CropStream(cases(), side=8).batch(range(8))
    found = {name: to_numpy(array) for name, array in layer(batch, training=True).items()}
    for crop, painted in enumerate(batch["painted"]):
        image = found["image"][crop, ..., 0]
        if not painted:
            np.testing.assert_array_equal(image, batch["image"][crop, ..., 0])
            continue
        shades = [np.unique(image[batch["structures"][crop] == s]) for s in (0, 1, 3)]
        assert [len(one) for one in shades if len(one)] == [1] * sum(map(len, shades))
    np.testing.assert_array_equal(found["label_map"], batch["label_map"])
    again = to_numpy(layer(batch, training=True)["image"])
    np.testing.assert_array_equal(again, found["image"])


def test_labels_are_warped_as_what_is_painted():
    layer = PaintedCrops(4, PLAIN, FLAT, scale=4, std=2)
    batch = CropStream(cases()[1:], side=10, seed=2).batch(range(2))
    found = {name: to_numpy(array) for name, array in layer(batch, training=True).items()}
    assert (found["label_map"] != batch["label_map"]).mean() > 0.01
    for image, labels in zip(found["image"][..., 0], found["label_map"], strict=True):
        assert len(np.unique(image[labels == 1])) == 1  # one shade, also after the warp


def maps_folder(folder):
    """Label maps whose numbers have a gap, one structure no class."""
    for seed in range(2):
        labels = np.where(made_pair(seed)[1] == 2, 17, made_pair(seed)[1])
        write(folder / f"map_{seed}.nii.gz", labels.astype("uint8"), np.eye(4))
    (folder / "dataset.json").write_text('{"labels": {"background": 0, "back": 17}}')
    return folder


def test_a_run_learns_from_label_maps_alone_or_beside_scans(tmp_path):
    maps = maps_folder(tmp_path / "maps")
    settings = SegmentationSettings(
        synthetic_from=str(maps), weights="scratch", width=2, levels=1, steps=1, side=8,
        precision="float32",
    )  # fmt: skip
    run = SegmentationRun(tmp_path / "run", settings)
    assert (run.classes, run.numbers, run.structures) == (["back"], (17,), (0, 1, 17))
    assert isinstance(run.streams()[0].layer, PaintedCrops)
    if keras.backend.backend() == "torch":  # the others compile every effect
        run.train()
        assert load_run(tmp_path / "run")[0].classes == 1
    (maps / "dataset.json").unlink()
    data = made_folder(tmp_path / "data")
    both = SegmentationRun(
        tmp_path / "both", SegmentationSettings(data=str(data), synthetic_from=str(maps), side=8)
    )
    training, validation = both.cases
    assert [case.structures is None for case in training] == [True, True, False, False]
    assert (len(validation), both.classes) == (1, ["front", "back"])
    # Number 17 is no class of the scans: it is painted, and taught as background.
    assert training[2].labels == [0, 1]
