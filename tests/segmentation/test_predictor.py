"""Prediction: windows, grids, flips, ensembles, components."""

import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage, special

import anyvox_keras as avx
from anyvox_keras.backend import to_numpy
from anyvox_keras.segmentation import Case, Predictor, largest_components, validate


@pytest.fixture(scope="module")
def segmenter():
    return network(0)


def network(seed):
    backbone = avx.UNet(width=2, levels=1, output_channels=4, seed=seed)
    return avx.Segmenter(backbone, classes=2, seed=seed)


def whole(model, image):
    """Probabilities by one pass over the normalised volume."""
    unit = (image - image.min()) / (image.max() - image.min())
    logits = to_numpy(model.predict_on_batch(unit[None, ..., None].astype("float32")))
    return special.softmax(logits[0], axis=-1)


def test_one_window_is_one_pass(segmenter, rng):
    image = rng.normal(size=(12, 12, 12))
    expected = whole(segmenter, image)
    predictor = Predictor(segmenter, side=12)
    np.testing.assert_allclose(predictor.probabilities(image), expected, atol=1e-5)
    np.testing.assert_array_equal(predictor(image).array, expected.argmax(-1))
    found = Predictor(segmenter, side=12, numbers=(4, 9))(image)
    np.testing.assert_array_equal(found.array, np.array([0, 4, 9])[expected.argmax(-1)])
    for number, place in ((4, 1), (9, 2)):  # the Dice that the probabilities expect
        p, hard = expected[..., place], expected.argmax(-1) == place
        dice = 2 * p[hard].sum() / (p.sum() + hard.sum())
        assert found.confidence[number] == pytest.approx(dice, abs=1e-4)


def test_ensembles_and_flips_are_means(segmenter, rng):
    other, image = network(1), rng.normal(size=(10, 8, 8))
    both = Predictor([segmenter, other], side=10).probabilities(image)
    single = [Predictor(model, side=10).probabilities(image) for model in (segmenter, other)]
    np.testing.assert_allclose(both, np.mean(single, axis=0), atol=1e-6)
    flipped = Predictor(segmenter, side=8, flips=True)
    turned = flipped.probabilities(image[::-1, :, ::-1])[::-1, :, ::-1]
    # A mean over all flips turns with the image.
    np.testing.assert_allclose(turned, flipped.probabilities(image), atol=1e-5)


def test_a_scan_in_any_orientation_gets_its_own_grid_and_header(segmenter, rng, tmp_path):
    image = rng.normal(size=(14, 9, 11)).astype("float32")
    affine = np.array([[0, 1.0, 0, 5], [0, 0, -1.0, 4], [1.0, 0, 0, 3], [0, 0, 0, 1]])
    scan = nib.Nifti1Image(image, affine)
    scan.header.set_sform(affine, code=2)
    nib.save(scan, tmp_path / "scan.nii.gz")
    predictor = Predictor(segmenter, side=16)
    labels = predictor(tmp_path / "scan.nii.gz")
    assert labels.shape == image.shape
    assert int(labels.header["sform_code"]) == 2
    np.testing.assert_allclose(labels.affine, affine)
    # As array axes R, A, S: axis 1, then axis 2 turned around, then axis 0.
    straight = predictor(image.transpose(1, 2, 0)[:, ::-1])
    back = straight.array[:, ::-1].transpose(2, 0, 1)
    np.testing.assert_array_equal(labels.array, back)


def test_another_spacing_resamples_there_and_back(segmenter):
    grid = np.stack(np.meshgrid(*[np.arange(20.0)] * 3, indexing="ij"), -1)
    image = np.exp(-((grid - 9.5) ** 2).sum(-1) / 60).astype("float32")
    scan = nib.Nifti1Image(image, np.diag([1.0, 1, 1, 1]))
    predictor = Predictor(segmenter, side=10, spacing=(2.0, 2.0, 2.0))
    coarse = image.reshape(10, 2, 10, 2, 10, 2).mean((1, 3, 5))  # linear, between two voxels
    expected = predictor.label_map((coarse - coarse.min()) / (coarse.max() - coarse.min()))
    labels = predictor(scan).array
    assert labels.shape == image.shape
    np.testing.assert_array_equal(labels, np.kron(expected, np.ones((2, 2, 2), int)))
    assert predictor.probabilities(scan).sum(-1) == pytest.approx(1, abs=1e-5)


def test_a_small_scan_is_padded_by_its_minimum_and_cropped_back(segmenter, rng):
    image = rng.uniform(5, 9, (7, 12, 9))
    padded = np.pad(image, ((3, 2), (0, 0), (2, 1)), constant_values=image.min())
    expected = whole(segmenter, padded)[3:10, :, 2:11]
    predictor = Predictor(segmenter, side=12)
    np.testing.assert_allclose(predictor.probabilities(image), expected, atol=1e-5)
    np.testing.assert_array_equal(predictor(image).array, expected.argmax(-1))


class _Half:
    """A network that finds every class alike."""

    classes = 15

    def predict_on_batch(self, batch):
        return np.zeros((*batch.shape[:4], 16), "float32")


def test_memory_holds_no_more_classes_than_a_slab_has():
    image = np.zeros((400, 16, 16), "float32")
    tracemalloc.start()
    labels = Predictor(_Half(), side=8, overlap=0.5).label_map(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    probabilities = 16 * image.nbytes
    # Twice the padded image and the labels in 32 bits; of probabilities some windows' depth.
    assert peak < 4 * image.nbytes + 8 * 8 * 16 * 16 * 16 * 4
    assert peak < probabilities / 2
    assert labels.shape == image.shape


def test_memory_is_bounded_by_slabs(segmenter, rng):
    predictor = Predictor(segmenter, side=8, overlap=0.5)
    slabs = list(predictor.slabs(rng.random((30, 8, 7)).astype("float32")))
    assert [slab.shape[1:] for slab in slabs] == [(8, 7, 3)] * len(slabs)
    assert max(len(slab) for slab in slabs) <= 8
    assert sum(len(slab) for slab in slabs) == 30


def test_the_largest_component_is_scipys(rng):
    labels = (ndimage.gaussian_filter(rng.normal(size=(20, 20, 20)), 1.5) > 0.05).astype("int32")
    kept = largest_components(labels * 3)
    parts, count = ndimage.label(labels)
    sizes = ndimage.sum_labels(labels, parts, range(1, count + 1))
    assert count > 1
    assert (kept == 3).sum() == sizes.max()
    assert ndimage.label(kept)[1] == 1


def test_networks_of_other_classes_do_not_join(segmenter):
    with pytest.raises(ValueError, match="agree on classes"):
        Predictor([segmenter, avx.Segmenter(segmenter.backbone, classes=3)])


class _Perfect(Predictor):
    """Knows the truth, and is sure of it."""

    def slabs(self, image):
        yield np.eye(3)[np.rint(2 * image).astype(int)]


def test_a_perfect_prediction_has_dice_one_and_no_loss(segmenter):
    labels = np.zeros((6, 6, 6), "int32")
    labels[1:3], labels[4:] = 1, 2
    case = Case("a", (labels / 2).astype("float32"), labels)
    wrong = Case("b", case.image, np.where(labels == 1, 2, labels))
    scores = validate(_Perfect(segmenter), [case])
    assert scores == {"loss": 0.0, "dice": 1.0, "dice_1": 1.0, "dice_2": 1.0}
    scores = validate(_Perfect(segmenter), [case, wrong])
    # In the second case class 1 is found where there is none, and half of class 2.
    assert scores["dice_1"] == 0.5
    assert scores["dice_2"] == pytest.approx((1 + 2 / 3) / 2)
    assert validate(_Perfect(segmenter), [wrong], ignore_label=2)["dice_2"] == 0
