"""The augmentation of crops: MONAI's affine, the battery, labels kept."""

import numpy as np
import pytest
from battery import check_layer
from keras import ops
from scipy import ndimage

from anyvox_keras import random
from anyvox_keras.backend import to_numpy
from anyvox_keras.segmentation import SegmentationAugmentation
from anyvox_keras.synthesis import AffineAugmentation


@pytest.fixture
def crops(rng):
    return {
        "image": rng.random((2, 12, 12, 12, 1)).astype("float32"),
        "label_map": rng.integers(0, 3, (2, 12, 12, 12)).astype("int32"),
    }


def test_affine_equals_monai(rng):
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("monai.transforms")
    image = rng.random((1, 14, 11, 12, 1)).astype("float32")
    degrees, scale = [20.0, -35.0, 10.0], [0.85, 1.2, 1.05]
    shear = [0.1, -0.2, 0.05, 0.15, -0.1, 0.2]
    params = {"active": np.array([True])} | {
        name: np.array([value], "float32")
        for name, value in (("degrees", degrees), ("scale", scale), ("shear", shear))
    }
    ours = AffineAugmentation().apply(
        {"image": image}, {k: ops.convert_to_tensor(v) for k, v in params.items()}
    )
    law = transforms.Affine(
        rotate_params=[float(np.radians(d)) for d in degrees], shear_params=shear,
        scale_params=scale, padding_mode="zeros", mode="bilinear", image_only=True,
    )  # fmt: skip
    expected = np.asarray(law(torch.from_numpy(image[0, ..., 0])[None]))[0]
    np.testing.assert_allclose(to_numpy(ours["image"])[0, ..., 0], expected, atol=1e-4)


def test_affine_of_thick_slices_keeps_them_and_turns_in_mm(rng):
    layer = AffineAugmentation(1.0, degrees=(30, 30), scale=1.0, shear=0.1, spacing=(1, 2, 8))
    labels = np.broadcast_to(np.arange(6, dtype="int32"), (1, 9, 9, 6))
    out = to_numpy(layer({"label_map": labels}, training=True)["label_map"])[0]
    for number in range(1, 6):
        # 0 stands for what came from beyond the slice.
        assert set(np.unique(out[..., number])) <= {0, number}
    # A quarter turn in mm about the slice's normal takes 2 voxels along x to 1 along y.
    turn = AffineAugmentation(1.0, degrees=(90, 90), scale=1.0, shear=0.0, spacing=(1, 2, 8))
    point = np.zeros((1, 9, 9, 5), "int32")
    point[0, 6, 4, 2] = 1
    found = np.argwhere(to_numpy(turn({"label_map": point}, training=True)["label_map"])[0])
    assert sorted(abs(found - 4).tolist())[0][:2] == [0, 1]


def test_the_elastic_part_is_the_nodes_displacement_in_the_slices(rng):
    """Against SciPy; slices are four times as thick as their voxels are wide."""
    layer = AffineAugmentation(1.0, elastic=(1, 2), nodes=6, spacing=(1, 1, 4))
    shape = (18, 18, 3)
    image = rng.random((1, *shape, 1)).astype("float32")
    nodes = rng.normal(size=(1, 3, 3, 2, 3)).astype("float32")
    assert layer.plan(shape)["nodes"].shape == nodes.shape[1:]
    params = {
        "active": np.array([True]),
        "degrees": np.zeros((1, 3), "float32"),
        "scale": np.ones((1, 3), "float32"),
        "shear": np.zeros((1, 6), "float32"),
        "elastic": np.array([1.5], "float32"),
        "nodes": nodes,
    }
    params = {name: ops.convert_to_tensor(value) for name, value in params.items()}
    found = to_numpy(layer.apply({"image": image}, params)["image"])[0, ..., 0]
    place = np.indices(shape).astype("float64")
    node = [
        (place[a] + 0.5) * (n / side) - 0.5
        for a, (n, side) in enumerate(zip((3, 3, 2), shape, strict=True))
    ]
    for axis in (0, 1):  # across the slices nothing moves
        place[axis] += 1.5 * ndimage.map_coordinates(
            nodes[0, ..., axis], node, order=1, mode="nearest"
        )
    expected = ndimage.map_coordinates(image[0, ..., 0], place, order=1, mode="constant")
    inside = np.all([(p >= 0) & (p <= n - 1) for p, n in zip(place, shape, strict=True)], axis=0)
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-4)


def test_augmentation_passes_the_battery(crops):
    keys = random.keys_for(0, range(2))
    output = check_layer(SegmentationAugmentation, {"seed": 1}, crops, keys, False, 1e-4)
    assert output["image"].min() == 0
    assert output["image"].max() == pytest.approx(1, abs=1e-6)
    assert set(np.unique(output["label_map"])) <= {0, 1, 2}


def test_without_a_step_crops_stay_as_they_are(crops):
    names = ("noise", "bias", "gibbs", "gamma", "blur", "sharpen", "affine")
    layer = SegmentationAugmentation(rescaled=False, **dict.fromkeys(names))
    out = layer(crops, random.keys_for(0, range(2)), training=True)
    for name, volume in crops.items():
        np.testing.assert_array_equal(to_numpy(out[name]), volume)


@pytest.mark.parametrize("appearance", [None, {"spike": None}])
def test_labels_go_where_the_image_goes(appearance):
    """A bright box stays where its label is, whatever is done to the image."""
    labels = np.zeros((4, 16, 16, 16), "int32")
    labels[:, 4:12, 4:9, 6:13] = 1
    image = labels[..., None].astype("float32")
    quiet = dict.fromkeys(("noise", "bias", "gibbs", "gamma", "blur", "sharpen"))
    layer = SegmentationAugmentation(**quiet) if appearance is None else None
    layer = layer or SegmentationAugmentation({"inversion": None, "gibbs": None, "sharpen": None})
    out = layer({"image": image, "label_map": labels}, random.keys_for(3, range(4)), training=True)
    for picture, label_map in zip(to_numpy(out["image"]), to_numpy(out["label_map"]), strict=True):
        inside = label_map == 1
        assert 50 < inside.sum() < 1500
        assert picture[..., 0][inside].mean() > picture[..., 0][~inside].mean() + 0.3


def test_generalisation_turns_half_of_the_crops_around():
    off = dict.fromkeys(("texture", "bias", "spike", "contrast", "blur", "gibbs", "sharpen"))
    layer = SegmentationAugmentation({**off, "resolution": None}, affine=None)
    image = np.zeros((64, 4, 4, 4, 1), "float32")
    image[:, 0] = 1
    crops = {"image": image, "label_map": np.zeros((64, 4, 4, 4), "int32")}
    out = to_numpy(layer(crops, random.keys_for(0, range(64)), training=True)["image"])
    turned = out[:, 0, 0, 0, 0] == 0
    np.testing.assert_array_equal(out[turned], 1 - image[turned])
    np.testing.assert_array_equal(out[~turned], image[~turned])
    assert 16 <= turned.sum() <= 48  # 4 standard errors of a half
