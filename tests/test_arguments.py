"""Arguments that are none: one line that names the argument, before any framework's own error."""

from types import SimpleNamespace

import numpy as np
import pytest

import anyvox_keras as avx
from anyvox_keras import io, metrics
from anyvox_keras.backend import to_numpy
from anyvox_keras.geometry import Grid, Volume, Warp
from anyvox_keras.ops import (
    compose,
    integrate_velocity,
    invert_displacement,
    jacobian_determinant,
    resize_displacement,
    warp,
)
from anyvox_keras.registration import FeatureSettings, image_features

IMAGE = np.random.default_rng(0).random((8, 9, 10)).astype("float32")
BATCH, FIELD = IMAGE[None, ..., None], np.zeros((1, 8, 9, 10, 3), "float32")
GRID = Grid((8, 9, 10), np.eye(4))
COMPLEX, RAGGED = IMAGE.astype("complex64"), [[1, 2, 3], [1, 2]]
MASKED = np.ma.masked_less(IMAGE, 0.2)
POINTS = np.ones((4, 3))


@pytest.fixture(scope="module")
def networks():
    unet = avx.UNet(width=2, levels=1, output_channels=3)
    voxelmorph = avx.VoxelMorph(encoder=(2,), decoder=(2, 2))
    return SimpleNamespace(unet=unet, voxelmorph=voxelmorph, segmenter=avx.Segmenter(unet, 2))


REGISTER = {
    "initial": [dict(initial=[["a"] * 4] * 4), dict(initial=np.eye(4, dtype="complex64"))],
    "fixed clip": [dict(fixed_clip="ab"), dict(fixed_clip=3), dict(fixed_clip=(0, np.nan))],
    "fixed mask": [dict(fixed_mask=COMPLEX), dict(fixed_mask=MASKED)],
    "fixed label map": [dict(fixed_seg=COMPLEX, moving_seg=IMAGE > 0.5)],
    "landmarks": [
        dict(fixed_points=points, moving_points=POINTS)
        for points in (POINTS + 1j, RAGGED, [["a", "b", "c"]], POINTS[:, :2])
    ],
    "method": [dict(method=3), dict(settings={})],
    "memory": [dict(memory="4"), dict(memory=0)],
    "weights": [dict(features="network", weights=3)],
    "extractor": [dict(features="network", extractor="x")],
}


@pytest.mark.parametrize(
    ("name", "options"), [(name, one) for name, many in REGISTER.items() for one in many]
)
def test_register(name, options):
    with pytest.raises(
        avx.UserError, match=f"^{name}: expected [^\n]*, received [^\n]*$|one length"
    ):
        avx.register(IMAGE, IMAGE, **{"features": "mind", **options})


@pytest.mark.parametrize(
    "extractor", [lambda x: None, lambda x: x, lambda x: x[..., None] * 1j, lambda x: np.inf * x]
)
def test_what_an_extractor_returns(extractor):
    settings = FeatureSettings("network", (extractor,))
    with pytest.raises(ValueError, match=r"^an extractor must return"):
        image_features(IMAGE, None, None, settings)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("displacement", lambda x: warp(BATCH, x)),
        ("first", lambda x: compose(x, FIELD)),
        ("second", lambda x: compose(FIELD, x)),
        ("velocity", integrate_velocity),
        ("displacement", invert_displacement),
        ("displacement", jacobian_determinant),
        ("displacement", lambda x: resize_displacement(x, (4, 4, 4))),
    ],
)
def test_displacements(name, call):
    for wrong in (FIELD[0], FIELD[..., :2], FIELD.astype("complex64"), "x"):
        with pytest.raises(ValueError, match=f"^`{name}` must be "):
            call(wrong)


def test_integers_are_interpolated_as_floats():
    shift = np.full_like(FIELD, 0.5)
    found = to_numpy(warp((100 * BATCH).astype("int16"), shift, outside="edge"))
    expected = to_numpy(
        warp((100 * BATCH).astype("int16").astype("float32"), shift, outside="edge")
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("fixed", lambda n: n.voxelmorph([IMAGE[None], IMAGE[None]])),
        ("fixed", lambda n: n.voxelmorph({"fixed": BATCH[:, None, ..., 0], "moving": BATCH})),
        ("moving", lambda n: n.voxelmorph([BATCH, BATCH.astype("complex64")])),
        ("fixed", lambda n: n.voxelmorph([BATCH, BATCH[:, :4]])),
        ("fixed", lambda n: n.voxelmorph([BATCH, np.concatenate([BATCH, BATCH])])),
        ("channels", lambda n: avx.VoxelMorph((16, 16, 16))),
        ("inputs", lambda n: n.segmenter(IMAGE[None])),
        ("inputs", lambda n: n.segmenter(BATCH[:, None, ..., 0])),
        ("classes", lambda n: avx.Segmenter(n.unet, 1.5)),
        ("backbone", lambda n: avx.Segmenter("x", 2)),
        ("backbone", lambda n: avx.ContrastivePretrainer("x")),
        ("backbone", lambda n: avx.FeatureExtractor("x")),
        ("clip", lambda n: avx.FeatureExtractor(n.unet, clip=3)),
        ("volume", lambda n: avx.FeatureExtractor(n.unet)(np.zeros((0, 4, 4)))),
        ("output_channels", lambda n: avx.UNet(output_channels="x")),
        ("temperature", lambda n: avx.MultiPositiveContrastiveLoss(float("nan"))),
        ("count", lambda n: avx.TemplateBank.geometric(1.5, 16)),
        ("seed", lambda n: avx.TemplateBank.geometric(1, 16, seed="a")),
        ("stream", lambda n: avx.WithSynthesis(n.unet, None)),
        ("bank", lambda n: avx.SyntheticStream("x", side=16)),
        ("seed", lambda n: avx.SyntheticStream(avx.TemplateBank.geometric(1, 16), 16, seed=1.5)),
    ],
)
def test_networks(networks, name, call):
    with pytest.raises(ValueError, match=f"^`{name}` [^\n]*must be [^\n]*$|^`{name}` must [^\n]*$"):
        call(networks)


def test_a_mask_of_truths_is_an_image(networks):
    extractor = avx.FeatureExtractor(networks.unet)
    expected = extractor((IMAGE > 0.5).astype("float32"))
    np.testing.assert_array_equal(extractor(IMAGE > 0.5), expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda path: io.save_volume(f"{path}.nii", MASKED, GRID),
        lambda path: io.save_volume(f"{path}.nii", COMPLEX, GRID),
        lambda path: io.save_warp(f"{path}.nii", FIELD[0] + 1j, GRID),
        lambda path: io.save_points(f"{path}.csv", POINTS + 1j),
        lambda path: io.save_points(f"{path}.csv", [["a", "b", "c"]]),
        lambda path: io.save_affine(f"{path}.tfm", np.ones((4, 4))),
        lambda path: Grid((4.5, 4, 4), np.eye(4)),
        lambda path: Grid((np.nan, 4, 4), np.eye(4)),
        lambda path: Grid("abc", np.eye(4)),
        lambda path: Volume(COMPLEX, np.eye(4)),
        lambda path: metrics.folds_percent(np.full((4, 4, 4, 3), np.nan)),
    ],
)
def test_what_is_kept(tmp_path, call):
    with pytest.raises(ValueError, match=r"^`?(array|displacement|points|matrix|shape)\b[^\n]*$"):
        call(tmp_path / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("points", lambda warp: warp.points([[np.nan, 1, 1]])),
        ("points", lambda warp: warp.points(POINTS[:, :2])),
        ("points", lambda warp: warp.points(POINTS + 1j)),
        ("points", lambda warp: warp.points(np.ma.masked_equal(POINTS, 1))),
        ("points", lambda warp: warp.points(3.0)),
        ("vectors", lambda warp: Warp(np.full_like(warp.vectors, np.nan), GRID)),
        ("vectors", lambda warp: Warp(warp.vectors + 1j, GRID)),
        ("vectors", lambda warp: Warp(warp.vectors[:4], GRID)),
        ("grid", lambda warp: Warp(warp.vectors, None)),
        ("beyond", lambda warp: Warp(warp.vectors, GRID, np.ones((3, 3)))),
        ("volume", lambda warp: warp.resample(IMAGE)),
        ("order", lambda warp: warp.resample(Volume(IMAGE, np.eye(4)), order=7)),
        ("spacing", lambda warp: metrics.hd95(IMAGE > 0.5, IMAGE > 0.4, (1, 1, np.nan))),
        ("spacing", lambda warp: metrics.hd95(IMAGE > 0.5, IMAGE > 0.4, (0, 1, 1))),
    ],
)
def test_warps_and_measures(name, call):
    with pytest.raises(ValueError, match=f"^`?{name}`?[: ][^\n]*$"):
        call(Warp(FIELD[0], GRID))


@pytest.mark.parametrize("outside", [-1, 256, 0.5, np.nan])
def test_what_lies_beyond_is_a_value_of_the_images_type(outside):
    """Such a value would be another one: -1 is 255 in 8 bits."""
    volume = Volume((100 * IMAGE).astype("uint8"), np.eye(4))
    with pytest.raises(ValueError, match=r"^`outside` must be a value of uint8"):
        Warp(FIELD[0] + 2, GRID).resample(volume, outside=outside)
    filled = Warp(FIELD[0] + 2, GRID).resample(volume, outside=255).array
    np.testing.assert_array_equal(filled[:-2, :-2, :-2], volume.array[2:, 2:, 2:])
    assert (filled[-2:] == 255).all()


def test_narrow_vectors_are_vectors():
    half = Warp((FIELD[0] + 0.5).astype("float16"), GRID)
    np.testing.assert_allclose(half.points(POINTS), POINTS + 0.5)
