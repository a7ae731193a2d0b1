"""Effects beyond the table, against TorchIO, scipy and physics."""

import monai.transforms as mt
import numpy as np
import pytest
import torchio as tio
from battery import check_layer
from scipy import ndimage
from synthesis.halves import applied, drawn

from anyvox_keras.backend import to_numpy
from anyvox_keras.random import keys_for, normal
from anyvox_keras.synthesis.appearance import (
    BiasField,
    CutOut,
    GaussianBlur,
    GaussianNoise,
    Ghosting,
    Inversion,
    LogGamma,
    Motion,
    RicianNoise,
    ThickSlices,
)

pytestmark = pytest.mark.slow

SHAPE = (12, 12, 12)
EXTRAS = [CutOut, Ghosting, Inversion, LogGamma, Motion, RicianNoise, ThickSlices]


@pytest.fixture
def images(rng):
    return rng.random((2, *SHAPE, 1), dtype="float32")


@pytest.mark.parametrize("cls", EXTRAS)
def test_battery(cls):
    x = np.random.default_rng(0).random((2, 8, 8, 8, 1), dtype="float32")
    check_layer(cls, {"probability": 0.9}, x, keys_for(0, range(2)), atol=1e-4)


def _torchio(transform, image):
    import torch

    return transform(torch.from_numpy(image[None, ..., 0])).numpy()[0]


def test_sampled_blur_equals_torchio(images):
    layer = GaussianBlur((0.0, 2.0), kernel="sampled")
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    y = applied(layer, images, params)
    for sample, std in enumerate(params["sigma"]):
        expected = _torchio(tio.Blur(tuple(float(s) for s in std)), images[sample])
        np.testing.assert_allclose(y[sample, ..., 0], expected, atol=1e-5)


def test_power_bias_equals_torchio(images):
    layer = BiasField((-0.5, 0.5), basis="power")
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    y = applied(layer, images, params)
    for sample, coefficients in enumerate(params["coefficients"]):
        expected = _torchio(tio.BiasField(coefficients.tolist(), 3), images[sample])
        np.testing.assert_allclose(y[sample, ..., 0], expected, rtol=1e-4)


def test_log_gamma_equals_torchio(images):
    layer = LogGamma()
    x = 2 * images - 1
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    y = applied(layer, x, params)
    for sample, log_gamma in enumerate(params["log_gamma"]):
        expected = _torchio(tio.Gamma(float(np.exp(log_gamma))), x[sample])
        np.testing.assert_allclose(y[sample, ..., 0], expected, atol=1e-5)


def test_ghosting_equals_torchio(images):
    layer = Ghosting()
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    y = applied(layer, images, params)
    for sample in range(2):
        ghosts, axis = int(params["ghosts"][sample]), int(params["axis"][sample])
        oracle = tio.Ghosting(ghosts, axis, float(params["intensity"][sample]), None)
        np.testing.assert_allclose(y[sample, ..., 0], _torchio(oracle, images[sample]), atol=1e-5)


@pytest.mark.parametrize("movements", [1, 2, 3])
def test_translating_motion_equals_torchio(movements):
    rng = np.random.default_rng(3)
    image = np.pad(rng.random((1, 8, 8, 8, 1), dtype="float32"), ((0, 0), *[(4, 4)] * 3, (0, 0)))
    layer = Motion(movements, degrees=0.0, translation=(-3.0, 3.0))
    params = drawn(layer, keys_for(1, [0]), (16, 16, 16))
    y = applied(layer, image, params)
    # TorchIO counts millimetres of LPS: the first two axes the other way.
    shift = params["translation"][0].astype("float64") * [-1, -1, 1]
    oracle = tio.Motion(np.zeros((movements, 3)), shift, params["times"][0], "linear")
    np.testing.assert_allclose(y[0, ..., 0], _torchio(oracle, image[0]), atol=1e-4)


def test_motion_keeps_a_still_image(images):
    layer = Motion(degrees=0.0, translation=0.0)
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    np.testing.assert_allclose(applied(layer, images, params), images, atol=1e-5)


def test_turns_are_about_the_centre():
    """A bright voxel at the centre stays; TorchIO, which turns about the corner, loses it."""
    point = np.zeros((1, 15, 15, 15, 1), "float32")
    point[0, 7, 7, 7] = 1
    layer = Motion(2, degrees=(8.0, 10.0), translation=0.0)
    params = drawn(layer, keys_for(1, [0]), (15, 15, 15))
    y = applied(layer, point, params)
    assert y[0, 7, 7, 7, 0] > 0.98  # its neighbours receive a little of it
    oracle = tio.Motion(params["degrees"][0], np.zeros((2, 3)), params["times"][0], "linear")
    assert _torchio(oracle, point[0])[7, 7, 7] < 0.7


def test_thick_slices_are_means_of_what_they_cover(images):
    layer = ThickSlices(3.0)
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    params["axis"] = np.array([2, 0], "int32")
    y = applied(layer, images, params)
    for sample, axis in ((0, 2), (1, 0)):
        image = np.moveaxis(images[sample, ..., 0], axis, 0)
        means = image.reshape(4, 3, 12, 12).mean(1)
        at = np.clip((np.arange(12) + 0.5) / 3 - 0.5, 0, 3)
        expected = ndimage.map_coordinates(
            means,
            np.stack(np.meshgrid(at, np.arange(12), np.arange(12), indexing="ij")),
            order=1,
            output="float64",
        )
        np.testing.assert_allclose(np.moveaxis(y[sample, ..., 0], axis, 0), expected, atol=1e-5)


def _torchio_anisotropy(image, axis, thickness):
    """TorchIO's transform with its parameters given."""
    oracle = tio.RandomAnisotropy(axes=(axis,), downsampling=(thickness, thickness))
    return _torchio(oracle, image)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("thickness", [2, 3, 4])
def test_slices_of_a_layered_image_equal_torchio(axis, thickness, rng):
    """Where slices are uniform, a mean is any point of them: the grids must agree."""
    layers = rng.random((1, 12 // thickness, 12, 12, 1), dtype="float32")
    image = np.moveaxis(np.repeat(layers, thickness, axis=1), 1, 1 + axis)
    layer = ThickSlices(float(thickness))
    params = {**drawn(layer, keys_for(1, [0]), SHAPE), "axis": np.array([axis], "int32")}
    expected = _torchio_anisotropy(image[0], axis, thickness)
    np.testing.assert_allclose(applied(layer, image, params)[0, ..., 0], expected, atol=1e-5)


def test_torchio_takes_points_where_a_scanner_averages(rng):
    """Noise of a slice four voxels thick has half the std; TorchIO's keeps all of it."""
    noise = rng.standard_normal((1, 32, 32, 32, 1)).astype("float32")
    layer = ThickSlices(4.0)
    params = {**drawn(layer, keys_for(1, [0]), (32,) * 3), "axis": np.array([0], "int32")}
    # At the faces both repeat the outermost slice: its own noise, not interpolated.
    ours, theirs = applied(layer, noise, params)[0, 0], _torchio_anisotropy(noise[0], 0, 4)[0]
    np.testing.assert_allclose(ours.std(), 0.5, rtol=0.1)
    np.testing.assert_allclose(theirs.std(), 1.0, rtol=0.1)


def test_slices_of_one_voxel_are_identity(images):
    layer = ThickSlices(1.0)
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    np.testing.assert_allclose(applied(layer, images, params), images, atol=1e-6)


class Drawn:
    """In place of MONAI's random state: normals that were drawn elsewhere."""

    def __init__(self, *noise):
        self.noise = list(noise)

    def rand(self):
        return 0.0

    def normal(self, mean, std, size):
        return mean + std * self.noise.pop(0).reshape(size)


@pytest.mark.parametrize(
    ("layer", "oracle", "fields"),
    [(GaussianNoise(0.2), mt.RandGaussianNoise, 1), (RicianNoise(0.2), mt.RandRicianNoise, 2)],
)
def test_noise_equals_monai(layer, oracle, fields, images):
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    y = applied(layer, images, params)
    noise = to_numpy(normal(params["noise"], (fields, *SHAPE)))
    for sample, std in enumerate(params["std"]):
        transform = oracle(prob=1.0, std=float(std), sample_std=False)
        transform.R = Drawn(*noise[sample])
        expected = np.asarray(transform(images[sample, ..., 0][None]))[0]
        np.testing.assert_allclose(y[sample, ..., 0], expected, atol=1e-5)


def test_cut_out_equals_monai(images):
    layer = CutOut((0.25, 0.5))
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    y = applied(layer, images, params)
    for sample in range(2):
        sides = np.rint(params["extent"][sample] * 12).astype(int)
        corners = np.floor(params["place"][sample] * (13 - sides)).astype(int)
        box = [slice(a, a + n) for a, n in zip(corners, sides, strict=True)]
        oracle = mt.RandCoarseDropout(1, 1, fill_value=float(images[sample].min()), prob=1.0)
        oracle._do_transform, oracle.hole_coords = True, [(slice(None), *box)]
        expected = np.asarray(oracle(images[sample, ..., 0][None].copy(), randomize=False))[0]
        np.testing.assert_array_equal(y[sample, ..., 0], expected)


def test_rician_noise_of_nothing_is_rayleigh():
    layer = RicianNoise(0.2)
    shape = (24, 24, 24)
    params = drawn(layer, keys_for(1, [0]), shape)
    y = applied(layer, np.zeros((1, *shape, 1), "float32"), params)
    assert y.min() >= 0
    np.testing.assert_allclose(y.mean(), 0.2 * np.sqrt(np.pi / 2), rtol=0.02)


def test_inversion_twice_is_identity(images):
    layer = Inversion()
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    once = applied(layer, images, params)
    np.testing.assert_allclose(once.min(), images.min(), atol=1e-6)
    np.testing.assert_allclose(applied(layer, once, params), images, atol=1e-6)


def test_cut_out_cuts_one_box(images):
    layer = CutOut((0.25, 0.5))
    params = drawn(layer, keys_for(1, range(2)), SHAPE)
    y = applied(layer, images + 1, params)
    for sample in range(2):
        cut = y[sample, ..., 0] != images[sample, ..., 0] + 1
        box = ndimage.find_objects(cut.astype(int))[0]
        sides = [s.stop - s.start for s in box]
        assert cut[box].mean() > 0.99  # the minimum itself may lie in it
        assert sides == np.round(params["extent"][sample] * 12).astype(int).tolist()


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (Motion, {"movements": 0}, "`movements` must be >= 1"),
        (Ghosting, {"ghosts": (0, 3)}, "`ghosts` must be"),
        (ThickSlices, {"thickness": 0.5}, "`thickness` must be >= 1"),
        (CutOut, {"extent": (0.5, 1.5)}, "`extent` must be in"),
        (GaussianBlur, {"kernel": "box"}, "`kernel` must be one of"),
    ],
)
def test_mistakes(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(**arguments)
