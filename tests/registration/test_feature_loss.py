"""FeatureLoss: numpy's definition, what the gradient reaches, and the places it works in."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

import anyvox_keras as avx
from anyvox_keras.backend import compiled, to_numpy, value_and_gradient
from anyvox_keras.ops import warp
from anyvox_keras.registration import MINDLoss, as_torch_module, mind_ssc

RNG = np.random.default_rng(0)
FIXED, MOVED = (RNG.random((2, 1, 16, 12, 16, 1), "float32") * 3) - 1
# Something that a warp can follow, and the same two voxels on.
SMOOTH = ndimage.gaussian_filter(FIXED, (0, 2, 2, 2, 0)) * 8
SHIFTED = np.roll(SMOOTH, 2, axis=1)


@pytest.fixture(scope="module")
def unet():
    return avx.UNet(width=8, levels=1, output_channels=4, normalization="instance", seed=0)


def cosine(a, b):
    return 1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def squared(a, b):
    return ((a - b) ** 2).mean(-1)


@pytest.mark.parametrize(
    ("distance", "arguments"),
    [
        (cosine, {}),
        (squared, {"norm": "unit", "clip": (-0.5, 1.0)}),
        (squared, {"norm": "standard", "rescale": False}),
    ],
    ids=["cosine", "unit", "standard"],
)
def test_equals_the_distance_of_extracted_features(unet, distance, arguments):
    extractor = avx.FeatureExtractor(unet, **arguments)
    f, m = extractor(FIXED), extractor(MOVED)
    expected = distance(f.astype("float64"), m.astype("float64"))
    loss = avx.FeatureLoss(extractor, distance.__name__)
    np.testing.assert_allclose(to_numpy(loss.features(FIXED)), f, rtol=0, atol=1e-4)
    assert float(loss(FIXED, MOVED)) == pytest.approx(expected.mean(), rel=1e-4)
    mask = (FIXED[..., 0] > 0.3).astype("float32")
    masked = float(loss(FIXED, MOVED, sample_weight=mask))
    assert masked == pytest.approx(expected[mask > 0].mean(), rel=1e-4)


def test_features_once_equal_features_anew_where_nothing_moves(unet):
    extractor = avx.FeatureExtractor(unet)
    anew, once = (avx.FeatureLoss(extractor, recompute=again) for again in (True, False))
    still = np.zeros((1, 16, 12, 16, 3), "float32")
    carried = warp(once.features(MOVED), still)
    assert float(once(once.features(FIXED), carried)) == pytest.approx(
        float(anew(FIXED, MOVED)), rel=1e-5
    )


def test_any_function_of_tensors_is_an_extractor():
    """MIND as features: their squared distance is the MIND loss."""
    loss = avx.FeatureLoss(mind_ssc, "squared")
    assert float(loss(FIXED, MOVED)) == pytest.approx(float(MINDLoss()(FIXED, MOVED)), rel=1e-6)


def test_gradient_reaches_the_image_and_not_the_weights(unet):
    before = [np.copy(w) for w in unet.get_weights()]
    loss = avx.FeatureLoss(avx.FeatureExtractor(unet))
    fixed = ops.convert_to_tensor(FIXED)
    descent = compiled(value_and_gradient(lambda x: loss(fixed, x)))
    _, slope = descent(ops.convert_to_tensor(MOVED))
    assert np.isfinite(to_numpy(slope)).all()
    assert np.abs(to_numpy(slope)).max() > 0
    for a, b in zip(before, unet.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(weight.trainable for weight in unet.trainable_weights)


def test_fit_with_feature_loss_lowers_it(unet):
    """Twenty steps of VoxelMorph, the loss on its moved image."""
    model = avx.VoxelMorph(
        encoder=(4, 4), decoder=(4, 4, 4), flow_stride=2, conventions="0.2", seed=0
    )
    model.compile(
        keras.optimizers.Adam(3e-3), loss={"moved": avx.FeatureLoss(avx.FeatureExtractor(unet))}
    )
    history = model.fit(
        {"fixed": SMOOTH, "moving": SHIFTED}, {"moved": SMOOTH}, epochs=20, batch_size=1, verbose=0
    )
    losses = history.history["loss"]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < 0.7 * losses[0]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's loop")
def test_trains_voxelmorphs_own_network(unet):
    """The one changed line of a VoxelMorph script is its image loss."""
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("voxelmorph").nn.models
    torch.manual_seed(0)
    network = models.VxmPairwise(3, 1, 1, nb_features=[4, 4])
    image_loss = as_torch_module(avx.FeatureLoss(avx.FeatureExtractor(unet)))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    target, source = (torch.from_numpy(x).movedim(-1, 1) for x in (SMOOTH, SHIFTED))
    losses = []
    for _ in range(20):
        _, warped = network(source, target, return_warped_source=True)
        loss = image_loss(target, warped)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-3:]) < 0.95 * losses[0]
