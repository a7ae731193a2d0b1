"""VoxelMorph's layers: the battery, and VoxelMorph's own functions."""

import keras
import numpy as np
import pytest
from battery import check_layer
from keras import ops
from scipy import ndimage, special

from anyvox_keras.backend import to_numpy, value_and_gradient
from anyvox_keras.registration import (
    ComposeTransforms,
    Correlation,
    IntegrateVelocity,
    MINDChannels,
    RescaleDisplacement,
    SpatialTransformer,
    cost_volume,
    mind_ssc,
    window_offsets,
)

torch = pytest.importorskip("torch")
pytest.importorskip("voxelmorph")

SHAPE = (9, 10, 12)
RNG = np.random.default_rng(0)
VOLUME = RNG.random((2, *SHAPE, 2)).astype("float32")


def smooth_field(amplitude, seed):
    noise = np.random.default_rng(seed).normal(size=(2, *SHAPE, 3))
    field = ndimage.gaussian_filter(noise, (0, 2, 2, 2, 0))
    return (field * (amplitude / np.abs(field).max())).astype("float32")


FIELD, OTHER, THIRD = (smooth_field(amplitude, seed) for seed, amplitude in enumerate((4, 2, 1)))


def theirs(function, *arrays, **arguments):
    """Call a PyTorch function on channels-first copies."""
    with torch.no_grad():
        y = function(*(torch.from_numpy(np.moveaxis(a, -1, 1).copy()) for a in arrays), **arguments)
    return np.moveaxis(y.numpy(), 1, -1)


def assert_equal(actual, expected):
    np.testing.assert_allclose(to_numpy(actual), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("cls", "config", "x"),
    [
        (SpatialTransformer, {"outside": "edge"}, [VOLUME, FIELD]),
        (SpatialTransformer, {"method": "nearest"}, [VOLUME, FIELD]),
        (IntegrateVelocity, {"steps": 3}, FIELD),
        (ComposeTransforms, {}, [FIELD, OTHER]),
        (RescaleDisplacement, {"factor": 2}, FIELD),
        (MINDChannels, {}, VOLUME[..., :1]),
        (Correlation, {"half_width": 1}, [VOLUME[:, :8], OTHER[:, :8, :, :, :2]]),
    ],
    ids=lambda case: getattr(case, "__name__", None),
)
def test_battery(cls, config, x):
    # Interpolation amplifies the last bit of a coordinate by the steepest slope.
    check_layer(cls, config, x, differentiable=not isinstance(x, list), atol=1e-4)


def test_mind_channels_are_the_image_and_its_descriptors():
    image = VOLUME[..., :1]
    found = to_numpy(MINDChannels()(image))
    np.testing.assert_array_equal(found[..., :1], image)
    assert_equal(found[..., 1:], to_numpy(mind_ssc(image)))


def test_correlation_finds_a_shift():
    fixed = np.random.default_rng(1).random((1, 12, 12, 12, 8)).astype("float32")
    blocks = np.repeat(np.repeat(np.repeat(fixed, 2, 1), 2, 2), 2, 3)
    moved = np.roll(blocks, (2, -2, 4), (1, 2, 3))  # voxels: 1, -1 and 2 blocks
    found = to_numpy(Correlation(stride=2, temperature=1e-3)([blocks, moved]))
    assert found.shape == (1, 12, 12, 12, 128)
    likely, mean = found[..., :125], found[..., 125:]
    np.testing.assert_allclose(likely.sum(-1), 1, atol=1e-5)
    inside = (slice(None), *(slice(4, -4),) * 3)
    np.testing.assert_allclose(
        mean[inside], np.broadcast_to([2, -2, 4], mean[inside].shape), atol=1e-2
    )


def test_correlation_is_a_softmax_of_the_cost():
    pair = RNG.random((2, 1, 8, 8, 8, 3)).astype("float32")
    pooled = [x.reshape(1, 4, 2, 4, 2, 4, 2, 3).mean((2, 4, 6)) for x in pair]
    cost = to_numpy(cost_volume(*pooled, 1))
    found = to_numpy(Correlation(stride=2, half_width=1, temperature=0.5)(list(pair)))
    expected = special.softmax(-cost / 0.5, -1)
    assert_equal(found[..., :27], expected)
    assert_equal(found[..., 27:], expected @ window_offsets(1) * 2)


def test_correlation_names_mistakes():
    for arguments in ({"stride": 0}, {"half_width": 0}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match=f"`{next(iter(arguments))}` must be"):
            Correlation(**arguments)


@pytest.mark.parametrize("method", ["linear", "nearest"])
def test_transformer_equals_voxelmorph(method):
    from voxelmorph.nn.functional import spatial_transform

    # Away from ties, which the two packages round differently.
    field = np.round(FIELD * 8) / 8 + np.float32(0.03)
    expected = theirs(spatial_transform, VOLUME, field, method=method)
    assert_equal(SpatialTransformer(method)([VOLUME, field]), expected)


def test_integration_equals_voxelmorph():
    from voxelmorph.nn.functional import integrate_disp, integrate_vec

    layer = IntegrateVelocity(steps=5, outside="zeros")
    assert_equal(layer(FIELD), theirs(integrate_vec, FIELD, steps=5))
    with pytest.warns(DeprecationWarning, match="integrate_disp"):
        expected = theirs(integrate_disp, FIELD, steps=5)
    assert_equal(layer(FIELD), expected)
    assert_equal(IntegrateVelocity(steps=0)(FIELD), FIELD)


def test_composition_equals_voxelmorph():
    from voxelmorph.nn.functional import compose

    expected = theirs(lambda *fields: compose(fields), FIELD, OTHER, THIRD)
    assert_equal(ComposeTransforms(outside="zeros")([FIELD, OTHER, THIRD]), expected)


@pytest.mark.parametrize("factor", [2, 0.5])
def test_rescaling_equals_voxelmorph(factor):
    from voxelmorph.nn.modules import ResizeDisplacementField

    expected = theirs(ResizeDisplacementField(factor), FIELD)
    assert_equal(RescaleDisplacement(factor)(FIELD), expected)


def test_rescaling_keeps_a_ramp():
    """A linear stretch of space stays the same stretch on any grid."""
    ramp = np.moveaxis(np.indices((10, 10, 10)), 0, -1)[None].astype("float32") * 0.1
    fine = to_numpy(RescaleDisplacement(2, align="half_pixel")(ramp))
    centres = (np.arange(20) + 0.5) / 2 - 0.5
    expected = np.clip(centres, 0, 9) * 0.1 * 2
    np.testing.assert_allclose(fine[0, :, 0, 0, 0], expected, atol=1e-6)


@pytest.mark.parametrize("layer", [SpatialTransformer(), ComposeTransforms()])
def test_gradients_are_finite(layer):
    x = ops.convert_to_tensor(FIELD)
    _, slope = value_and_gradient(lambda u: ops.sum(layer([ops.convert_to_tensor(OTHER), u])))(x)
    slope = to_numpy(slope)
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


def test_displacements_stay_float32_under_mixed_precision():
    """bfloat16 has no 200.3: the coordinate would jump by half a voxel."""
    ramp = np.zeros((1, 2, 2, 256, 1), "float32") + np.arange(256, dtype="float32")[:, None]
    shift = np.zeros((1, 2, 2, 256, 3), "float32")
    shift[..., 2] = 0.3
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        moved = SpatialTransformer(outside="edge")([ramp, shift])
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    np.testing.assert_allclose(to_numpy(moved)[0, 0, 0, :255, 0], np.arange(255) + 0.3, atol=1e-4)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="`method` must be one of linear, nearest"):
        SpatialTransformer(method="cubic")
    with pytest.raises(ValueError, match="`steps` must be >= 0"):
        IntegrateVelocity(steps=-1)
    with pytest.raises(ValueError, match="`factor` must be > 0"):
        RescaleDisplacement(0)
    with pytest.raises(ValueError, match="`inputs` must be a list of displacements"):
        ComposeTransforms().call([])
