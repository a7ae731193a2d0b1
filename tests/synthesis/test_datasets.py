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


def numbers_of(dataset):
    """The numbers of the pairs that a dataset draws, as `numbered` tells them."""
    return [int(pair) for batch in dataset for pair in np.ravel(batch["pair"])]


@pytest.fixture
def numbered(stream, monkeypatch):
    """Draw each pair's number in place of its volumes."""
    pairs = copy.copy(stream)
    monkeypatch.setattr(pairs, "batch", lambda samples: {"pair": np.asarray(samples)})
    pairs.layer = NumberLayer()
    return pairs


class NumberLayer:
    def __call__(self, batch):
        return batch

    def compute_output_spec(self, batch):
        return {"pair": keras.KerasTensor((2,), "int64")}


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_and_workers_see_each_pair_once(numbered, monkeypatch, ranks):
    import torch

    seen, lengths = [], []
    for rank in range(ranks):
        dataset = numbered.as_torch_dataset(count=7, shard=(rank, ranks))
        alone = numbers_of(dataset)
        assert alone == [n for b in range(rank, 7, ranks) for n in (2 * b, 2 * b + 1)]
        lengths.append(len(dataset))
        seen += alone
        split = []
        for worker in range(2):
            asked = SimpleNamespace(id=worker, num_workers=2)
            with monkeypatch.context() as patch:
                patch.setattr("anyvox_keras.synthesis.stream.torch_dataset._require_fork", id)
                patch.setattr(torch.utils.data, "get_worker_info", lambda asked=asked: asked)
                split += numbers_of(dataset)
        assert sorted(split) == alone
    assert sorted(seen) == list(range(14))
    assert sum(lengths) == 7


def test_ranks_are_found(numbered, monkeypatch):
    import torch

    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2")):  # as torchrun sets them
        monkeypatch.setenv(name, value)
    assert numbers_of(numbered.as_torch_dataset(count=4)) == [2, 3, 6, 7]
    group = torch.distributed
    monkeypatch.setattr(group, "is_initialized", lambda: True)
    monkeypatch.setattr(group, "get_rank", lambda: 2)
    monkeypatch.setattr(group, "get_world_size", lambda: 3)
    assert numbers_of(numbered.as_torch_dataset(count=4)) == [4, 5]
    with pytest.raises(ValueError, match="`shard` must be"):
        numbers_of(numbered.as_torch_dataset(count=4, shard=(2, 2)))


def test_pipelines_see_each_pair_once(numbered):
    tf = pytest.importorskip("tensorflow")
    halves = [numbers_of(numbered.as_dataset(count=5, shard=(i, 2))) for i in range(2)]
    assert halves == [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7]]
    context = tf.distribute.InputContext(num_input_pipelines=2, input_pipeline_id=1)
    assert numbers_of(numbered.as_dataset(count=5, shard=context)) == halves[1]


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
