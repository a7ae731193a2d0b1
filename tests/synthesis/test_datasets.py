"""The stream in the training loops of PyTorch and TensorFlow."""

import copy
import itertools
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import anyvox_keras as avx

SIDE = 16
BANK = avx.TemplateBank.geometric(count=20, side=SIDE)


@pytest.fixture(scope="module")
def stream():
    return avx.SyntheticStream(BANK, side=SIDE, batch_size=2, seed=5)


@pytest.fixture(scope="module")
def batches(stream):
    return list(stream.arrays(4))


def assert_same(drawn, batches, atol=0):
    assert len(drawn) == len(batches)
    for ours, expected in zip(drawn, batches, strict=True):
        assert set(ours) == {"label_map", "view1", "view2"}
        for name, array in expected.items():
            np.testing.assert_allclose(ours[name].numpy(), array, rtol=0, atol=atol)
            assert str(array.dtype) in str(ours[name].dtype)


def test_torch_loader(stream, batches):
    from torch.utils.data import DataLoader, IterableDataset

    dataset = stream.as_torch_dataset(count=4)
    assert isinstance(dataset, IterableDataset)
    assert len(dataset) == 4
    loader = DataLoader(dataset, batch_size=None)
    assert_same(list(loader), batches)
    assert_same(list(loader), batches)  # another pass begins where this one did
    endless = stream.as_torch_dataset()
    assert_same(list(itertools.islice(endless, 2)), batches[:2])
    with pytest.raises(TypeError, match="no length"):
        len(endless)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="others cannot be forked")
def test_torch_workers_take_turns(stream, batches):
    from torch.utils.data import DataLoader

    loader = DataLoader(stream.as_torch_dataset(count=4), batch_size=None, num_workers=2)
    # A worker has one thread, and the number of threads decides in what order sums are taken.
    assert_same(list(loader), batches, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="can be forked")
def test_workers_that_cannot_draw(stream, monkeypatch):
    import torch

    worker = SimpleNamespace(id=0, num_workers=2)
    monkeypatch.setattr(torch.utils.data, "get_worker_info", lambda: worker)
    with pytest.raises(ValueError, match="`num_workers` must be 0"):
        next(iter(stream.as_torch_dataset()))


def test_passes_begin_at_the_position(stream, batches):
    moved = copy.copy(stream)
    moved.seek(4)
    assert_same(list(moved.as_torch_dataset(count=2)), batches[2:])


def test_tensorflow_dataset(stream, batches):
    pytest.importorskip("tensorflow")
    dataset = stream.as_dataset(count=4)
    assert dataset.element_spec["view1"].shape == (2, SIDE, SIDE, SIDE, 1)
    assert_same(list(dataset), batches)
    assert_same(list(stream.as_dataset().take(2)), batches[:2])
