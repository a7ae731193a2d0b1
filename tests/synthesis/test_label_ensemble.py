"""Label maps: the foreground mask, the rim, the draws."""

import numpy as np
import pytest
from battery import check_layer
from keras import ops
from scipy import ndimage
from scipy.spatial.transform import Rotation
from skimage import morphology
from synthesis.halves import applied, drawn

from anyvox_keras.backend import to_numpy
from anyvox_keras.random import keys_for
from anyvox_keras.random.smooth_noise import rotation_matrix
from anyvox_keras.synthesis import ForegroundMask, LabelEnsemble
from anyvox_keras.synthesis.labels.foreground_mask import envelope
from anyvox_keras.templates import TemplateBank

SIDE = 16


@pytest.fixture(scope="module")
def bank():
    return TemplateBank.geometric(10, SIDE)


def test_battery(bank):
    config = {"side": SIDE, "count": (3, 5)}
    packed = bank.pack([[0, 1, 2, 3], [4, 5, 6, 7]])
    labels = check_layer(LabelEnsemble, config, packed, keys_for(0, range(2)), differentiable=False)
    assert labels.shape == (2, SIDE, SIDE, SIDE)
    assert labels.dtype == np.int32
    assert labels.min() >= 0
    assert labels.max() <= LabelEnsemble(**config).labels - 1


def test_rim_equals_ball_morphology(rng):
    smooth = ndimage.gaussian_filter(rng.standard_normal((3, 20, 22, 24)), (0, 3, 3, 3))
    mask = smooth > 0
    rim = to_numpy(envelope(mask, np.array([2, 3, 4], "int32")))
    for sample, radius in enumerate((2, 3, 4)):
        ball = morphology.ball(radius)
        # Outside the grid there is neither mask nor background.
        dilated = ndimage.binary_dilation(mask[sample], ball)
        eroded = ndimage.binary_erosion(mask[sample], ball, border_value=1)
        np.testing.assert_array_equal(rim[sample], dilated & ~eroded)


def test_no_rim_without_a_border():
    for mask in (np.zeros((1, 10, 10, 10), bool), np.ones((1, 10, 10, 10), bool)):
        assert not to_numpy(envelope(mask, np.array([4], "int32"))).any()


def test_undeformed_mask_is_a_ball():
    layer = ForegroundMask(std=0.0)
    params = drawn(layer, keys_for(2, range(3)), (32,) * 3)
    masks = applied(layer, (32,) * 3, params)
    grid = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), axis=-1)
    for mask, radius, centre in zip(masks, params["radius"], params["centre"], strict=True):
        assert 12 <= radius < 18
        assert (np.abs(centre - 16) <= 8).all()
        ball = ((grid - centre) ** 2).sum(-1) <= radius**2
        np.testing.assert_array_equal(mask, ndimage.median_filter(ball, 3, mode="nearest"))


def test_deformed_mask_against_scipy():
    """Nodes upsampled, the ball sampled at displaced voxels, reflected at the faces."""
    shape, layer = (32,) * 3, ForegroundMask(std=(5.0, 9.0))
    params = drawn(layer, keys_for(4, [0]), shape)
    grid = np.stack(np.meshgrid(*[np.arange(32.0)] * 3, indexing="ij"))
    moved = grid.copy()
    for scale in (8, 16, 32):
        nodes = params[f"nodes_{scale}"][0]
        at = (grid + 0.5) * nodes.shape[0] / 32 - 0.5
        for axis in range(3):
            moved[axis] += ndimage.map_coordinates(
                nodes[..., axis], at, order=1, mode="nearest", output="float64"
            )
    ball = ((grid - params["centre"][0][:, None, None, None]) ** 2).sum(0)
    ball = (ball <= params["radius"][0] ** 2).astype("uint8")
    nearest = np.floor(moved + 0.5)
    expected = ndimage.map_coordinates(ball, nearest, order=0, mode="reflect")
    expected = ndimage.median_filter(expected, 3, mode="nearest")
    assert ((applied(layer, shape, params))[0] != expected).mean() < 1e-3


def test_masked_and_enveloped_labels(bank):
    ensemble = LabelEnsemble(SIDE, count=(4, 5))
    packed = bank.pack([[1, 2, 3, 4]])
    params = drawn(ensemble, keys_for(6, [0]))
    no, yes = np.array([False]), np.array([True])

    def labels(masked, enveloped):
        chosen = {**params, "masked": masked, "enveloped": enveloped}
        return (applied(ensemble, packed, chosen))[0]

    plain, masked, rimmed = labels(no, yes), labels(yes, no), labels(yes, yes)
    mask = (applied(ensemble.mask, (SIDE,) * 3, params["mask"]))[0]
    np.testing.assert_array_equal(masked, np.where(mask, plain + 1, 0))
    rim = to_numpy(envelope(mask[None], params["rim"]))[0]
    np.testing.assert_array_equal(rimmed, np.where(rim, masked.max() + 1, masked))


def test_draws_follow_the_table():
    ensemble = LabelEnsemble(32)
    params = drawn(ensemble, keys_for(1, range(600)))
    count = params["count"]
    assert count.min() == 20
    assert count.max() == 39
    assert abs(params["masked"].mean() - 2 / 3) < 0.08
    assert abs(params["enveloped"].mean() - 1 / 2) < 0.08
    assert set(params["rim"]) == {2, 3, 4}
    assert np.abs(params["translation"]).max() <= 5
    # |det| = product of the scales, whose signs are even or odd in number alike.
    determinant = np.linalg.det(params["matrix"].astype("float64")).reshape(-1)
    assert np.abs(determinant).min() >= 0.5**3
    assert np.abs(determinant).max() <= 1.5**3
    assert abs((determinant < 0).mean() - 0.5) < 0.05
    assert abs(np.abs(determinant).mean() - 1) < 0.03


def test_rotation_is_the_product_rx_ry_rz(rng):
    angles = rng.uniform(-180, 180, (5, 3)).astype("float32")
    actual = to_numpy(rotation_matrix(ops.convert_to_tensor(angles)))
    expected = Rotation.from_euler("XYZ", angles, degrees=True).as_matrix()
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"side": 8}, r"`side` must be in \[16, 1023\]"),
        ({"count": (5, 5)}, "`count` must be"),
        ({"foreground": 1.5}, "`foreground` must be in"),
        ({"scale": (-1, 1)}, "`scale` must be >= 0"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(ValueError, match=message):
        LabelEnsemble(**arguments)


def test_wrong_number_of_templates(bank):
    with pytest.raises(ValueError, match=r"`offsets` must be \(B, 39\)"):
        LabelEnsemble(SIDE)(bank.pack([[0, 1]]), keys=keys_for(0, [0]))
