"""Sliding windows against MONAI's."""

import numpy as np
import pytest

from anyvox_keras.features import sliding_window, sliding_window_slabs

SIZES = [
    ((20, 17, 25), (8, 8, 8), 0.5),
    ((16, 9, 12), (8, 9, 6), 0.8),
    ((10, 10, 10), (10, 4, 7), 0.0),
]


def of_position(windows):
    """Depend on where in its window a voxel lies, so that the blending shows."""
    ramp = np.arange(np.prod(windows.shape[1:4])).reshape(windows.shape[1:4])[None, ..., None]
    return np.concatenate([windows * 2 + 0.01 * ramp, windows**2], axis=-1)


@pytest.mark.parametrize(("shape", "window", "overlap"), SIZES)
@pytest.mark.parametrize("batch", [1, 3])
def test_equals_monai(shape, window, overlap, batch, rng):
    torch = pytest.importorskip("torch")
    inferers = pytest.importorskip("monai.inferers")
    volume = rng.normal(size=(*shape, 1)).astype("float32")

    def predictor(x):
        return torch.from_numpy(np.moveaxis(of_position(np.moveaxis(x.numpy(), 1, -1)), -1, 1))

    expected = inferers.sliding_window_inference(
        torch.from_numpy(np.moveaxis(volume, -1, 0)[None]),
        window, 2, predictor, overlap, mode="gaussian", sigma_scale=0.25,
    )  # fmt: skip
    actual = sliding_window(volume, of_position, window, overlap, 0.25, batch)
    np.testing.assert_allclose(actual, np.moveaxis(expected[0].numpy(), 0, -1), atol=1e-4)


def test_a_predictor_of_the_voxel_alone_is_reproduced(rng):
    volume = rng.normal(size=(11, 20, 9, 2)).astype("float32")
    output = sliding_window(volume, lambda x: 3 * x, (6, 6, 16), 0.6)
    np.testing.assert_allclose(output, 3 * volume, rtol=1e-5)


def test_overlap_of_one_is_refused():
    with pytest.raises(ValueError, match="`overlap` must be in"):
        sliding_window(np.zeros((8, 8, 8, 1)), lambda x: x, (4, 4, 4), overlap=1.0)


@pytest.mark.parametrize(("shape", "window", "overlap"), SIZES)
def test_slabs_join_to_the_whole_and_are_no_deeper_than_a_window(shape, window, overlap, rng):
    volume = rng.normal(size=(*shape, 1)).astype("float32")
    slabs = list(sliding_window_slabs(volume, of_position, window, overlap, batch=3))
    whole = sliding_window(volume, of_position, window, overlap)
    joined = np.zeros_like(whole)
    for place, values in slabs:
        assert len(values) <= window[0]
        joined[place] = values
    np.testing.assert_array_equal(joined, whole)
