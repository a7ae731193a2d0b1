"""The UNet against the paper's code, and its own promises."""

import keras
import numpy as np
import pytest
from keras import ops

from anyvox_keras.backend import no_gradient, to_numpy
from anyvox_keras.networks import ARCHITECTURES, UNet
from anyvox_keras.networks.convert import from_torch


@pytest.fixture(scope="module")
def base(data):
    return from_torch(data / "oracle" / "unet_base_small.pth")


@pytest.fixture(scope="module")
def dev(data):
    return from_torch(data / "oracle" / "unet_dev_small.pth")


def assert_equals_oracle(actual, expected, stride, limit=1e-4):
    """Compare `(B, D, H, W, C)` with the oracle's strided `(B, C, D, H, W)`."""
    actual = np.moveaxis(to_numpy(actual), -1, 1)
    if actual.shape != expected.shape:
        actual = actual[:, :, ::stride, ::stride, ::stride]
    assert np.abs(actual - expected).max() < limit * np.abs(expected).max()


def volume(oracle):
    return oracle["x"][None, ..., None]


def training_batch(oracle):
    x = oracle["x"]
    return np.stack([x, 0.7 * x[::-1] + 0.1])[..., None]


def tiny(**arguments):
    return UNet(**{"width": 4, "levels": 2, "output_channels": 3, "seed": 0, **arguments})


def test_base_inference_and_taps_equal_the_papers(base, oracle):
    expected = oracle("unet_base_small")
    taps = [int(tap) for tap in expected["tap_layers"]]
    outputs = base.with_taps(taps).predict_on_batch(volume(expected))
    stride = int(expected["stride"])
    assert_equals_oracle(outputs["output"], expected["y_eval"][None], stride)
    for tap in taps:
        assert_equals_oracle(outputs[str(tap)], expected[f"tap_{tap}"][None], stride)


@pytest.mark.parametrize("variant", ["base", "dev"])
def test_training_mode_equals_the_papers(variant, oracle, request):
    expected = oracle(f"unet_{variant}_small")
    # A copy: the call moves the statistics of batch norm.
    unet = keras.models.clone_model(request.getfixturevalue(variant))
    unet.set_weights(request.getfixturevalue(variant).get_weights())
    with no_gradient():
        output = unet(training_batch(expected), training=True)
    assert_equals_oracle(output, expected["y_train"], int(expected["stride"]))


def test_dev_inference_equals_the_papers(dev, oracle):
    expected = oracle("unet_dev_small")
    output = dev.predict_on_batch(volume(expected))
    assert_equals_oracle(output, expected["y_eval"][None], int(expected["stride"]))


def test_parameter_counts_are_the_published_ones():
    counts = {"anatomix": 5_899_344, "anatomix-dev": 94_369_568}
    for name, count in counts.items():
        # Meta shapes only: the large one needs no memory to be counted.
        assert _count(**ARCHITECTURES[name]) == count


def _count(width=16, levels=4, output_channels=16, normalization="batch", **_):
    unet = UNet(1, 2, 2, levels, normalization, seed=0)
    scale, total = width // 2, 0
    for weight in unet.trainable_weights:
        shape = list(weight.shape)
        last = "output" in weight.path
        shape[-1] = output_channels if last else shape[-1] * scale
        if len(shape) == 5 and "stem" not in weight.path:
            shape[-2] *= scale
        total += int(np.prod(shape))
    return total


@pytest.mark.parametrize("shape", [(5, 20, 9), (16, 8, 24), (1, 3, 11), (17, 18, 19)])
def test_any_size_is_padded_and_cropped_back(shape, rng):
    x = rng.normal(size=(2, *shape, 1)).astype("float32")
    unet = tiny()
    y = unet.predict_on_batch(x)
    assert y.shape == (2, *shape, 3)
    assert unet.compute_output_shape((2, *shape, 1)) == (2, *shape, 3)
    target = [max(8, -(-n // 4) * 4) for n in shape]
    # numpy's reflection goes to and fro like ours, but not from a single voxel.
    padded = x
    for axis, (n, m) in enumerate(zip(shape, target, strict=True), 1):
        pads = [(0, m - n) if a == axis else (0, 0) for a in range(5)]
        padded = np.pad(padded, pads, "reflect" if n > 1 else "edge")
    d, h, w = shape
    expected = unet.predict_on_batch(padded)[:, :d, :h, :w]
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize(
    "switches",
    [
        dict(normalization="none"),
        dict(normalization="instance", epsilon=1e-2, pooling="average", upsampling="trilinear"),
        dict(skips=False, input_channels=2),
    ],
)
def test_every_switch_survives_config_and_file(switches, rng, tmp_path):
    unet = tiny(**switches)
    x = rng.normal(size=(1, 12, 8, 8, switches.get("input_channels", 1))).astype("float32")
    y = unet.predict_on_batch(x)
    unet.save(tmp_path / "unet.keras")
    loaded = keras.saving.load_model(tmp_path / "unet.keras")
    assert isinstance(loaded, UNet)
    assert loaded.get_config() == unet.get_config()
    np.testing.assert_array_equal(loaded.predict_on_batch(x), y)
    unet.save_weights(tmp_path / "unet.weights.h5")
    other = UNet.from_config({**unet.get_config(), "seed": 1})
    other.load_weights(tmp_path / "unet.weights.h5")
    np.testing.assert_array_equal(other.predict_on_batch(x), y)


@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_computes_near_float32(policy, pooling, rng):
    if policy == "mixed_float16" and pooling == "max" and keras.backend.backend() == "tensorflow":
        import tensorflow

        if not tensorflow.config.list_physical_devices("GPU"):
            pytest.skip("TensorFlow has no float16 pooling on a CPU")
    x = rng.normal(size=(1, 8, 8, 8, 1)).astype("float32")
    exact, mixed = tiny(pooling=pooling), tiny(pooling=pooling, dtype=policy)
    mixed.set_weights(exact.get_weights())
    y = mixed.predict_on_batch(x).astype("float32")
    assert {weight.dtype for weight in mixed.weights} == {"float32"}
    scale = np.abs(exact.predict_on_batch(x)).max()
    assert np.abs(y - exact.predict_on_batch(x)).max() < 0.1 * scale


def test_taps_by_name_and_by_index_are_the_same_layers(rng):
    unet = UNet(width=2, seed=0)
    names = [unet.tap_names[index] for index in (27, 31, 38, 45, 52, 65)]
    assert tuple(names) == unet.contrastive_taps
    x = rng.normal(size=(1, 40, 32, 32, 1)).astype("float32")
    by_name = unet.with_taps(names).predict_on_batch(x)
    by_index = unet.with_taps([27, 45]).predict_on_batch(x)
    np.testing.assert_array_equal(by_name["encoder_4_2_conv"], by_index["27"])
    assert by_name["bottleneck_1_conv"].shape == (1, 2, 2, 2, 32)
    assert by_name["decoder_2_1_conv"].shape == (1, 10, 8, 8, 8)


def test_thick_slices_are_pooled_when_the_others_have_grown_to_them(rng):
    unet, cubes = tiny(spacing=(1.5, 1.5, 5.0)), tiny()
    unet.set_weights(cubes.get_weights())
    x = rng.random((1, 9, 8, 5, 1)).astype("float32")
    outputs = unet.with_taps(["encoder_1_2_conv", "bottleneck_1_conv"]).predict_on_batch(x)
    shapes = [tuple(outputs[n].shape[1:4]) for n in ("output", "encoder_1_2_conv")]
    assert shapes == [(9, 8, 5)] * 2
    assert tuple(outputs["bottleneck_1_conv"].shape[1:4]) == (2, 2, 2)  # 3 -> 6 mm, then all halve
    assert UNet.from_config(unet.get_config()).spacing == (1.5, 1.5, 5.0)
    alike = tiny(spacing=(2, 2, 2))
    alike.set_weights(cubes.get_weights())
    expected = to_numpy(cubes.predict_on_batch(x))
    np.testing.assert_array_equal(to_numpy(alike.predict_on_batch(x)), expected)


def test_an_unknown_tap_or_switch_is_refused():
    with pytest.raises(ValueError, match="tap must be one of"):
        tiny().with_taps([999])
    with pytest.raises(ValueError, match="`pooling` must be one of max, average"):
        tiny(pooling="median")
    with pytest.raises(ValueError, match="`levels` must be >= 1"):
        tiny(levels=0)


def test_initial_weights_are_kaiming_normal_and_a_function_of_the_seed():
    first, again, other = UNet(seed=3), UNet(seed=3), UNet(seed=4)
    name = "bottleneck_2_conv"
    kernels = [to_numpy(u.get_layer(name).kernel) for u in (first, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0.01
    assert kernels[0].std() == pytest.approx(np.sqrt(2 / (27 * 256)), rel=0.01)
    # A truncated normal would stop at two standard deviations.
    assert np.abs(kernels[0]).max() > 4 * kernels[0].std()
    gamma = np.concatenate([to_numpy(w).ravel() for w in first.weights if w.path.endswith("gamma")])
    assert gamma.mean() == pytest.approx(1, abs=0.005)
    assert gamma.std() == pytest.approx(0.02, rel=0.1)


def test_a_training_step_moves_every_weight(rng):
    unet = tiny()
    before = [to_numpy(w) for w in unet.trainable_weights]
    unet.compile(keras.optimizers.SGD(0.1), "mse")
    x = rng.normal(size=(2, 8, 8, 8, 1)).astype("float32")
    y = rng.normal(size=(2, 8, 8, 8, 3)).astype("float32")
    unet.fit(x, y, verbose=0)
    moved = [
        np.abs(to_numpy(w) - b).max() for w, b in zip(unet.trainable_weights, before, strict=True)
    ]
    assert min(moved) > 0


def test_moving_variance_follows_pytorchs_unbiased_law(rng):
    x = rng.normal(size=(2, 8, 8, 8, 1)).astype("float32")
    unet = tiny()
    with no_gradient():
        stem = unet.with_taps(["stem_conv"])(ops.convert_to_tensor(x), training=True)["stem_conv"]
    expected = 0.9 + 0.1 * to_numpy(stem).reshape(-1, 4).var(0, ddof=1)
    moving = to_numpy(unet.get_layer("stem_norm").moving_variance)
    np.testing.assert_allclose(moving, expected, rtol=1e-5)
