"""Packed shapes: what goes in comes out."""

import numpy as np
import pytest

from anyvox_keras.templates import TemplateBank, draw_geometric_shape, pack_mask, unpack_mask


def test_packing_keeps_every_voxel(rng):
    mask = np.zeros((9, 10, 11), bool)
    mask[2:7, 3:9, 1:10] = rng.random((5, 6, 9)) < 0.5
    mask[2, 3, 1] = mask[6, 8, 9] = True
    words, size = pack_mask(mask)
    assert words.dtype == np.int32
    assert size == (5, 6, 9)
    np.testing.assert_array_equal(unpack_mask(words, size), mask[2:7, 3:9, 1:10])


def test_bit_order_is_least_significant_first():
    mask = np.zeros((1, 1, 40), bool)
    mask[0, 0, [0, 3, 39]] = True
    words, _ = pack_mask(mask)
    assert words.tolist() == [0b1001, 1 << 7]


@pytest.mark.parametrize("mask", [np.zeros((3, 3, 3)), np.ones((3, 3))])
def test_masks_that_cannot_be_packed(mask):
    with pytest.raises(ValueError, match="`mask` must"):
        pack_mask(mask)


def test_bank_gives_its_masks_back(rng):
    masks = [rng.random(size) < 0.7 for size in [(3, 4, 5), (8, 2, 2), (1, 1, 33)]]
    for mask in masks:
        mask[0, 0, 0] = mask[-1, -1, -1] = True
    bank = TemplateBank.from_masks(masks, ["a", "b", "c"])
    assert len(bank) == 3
    assert bank.names == ["a", "b", "c"]
    for i, mask in enumerate(masks):
        np.testing.assert_array_equal(bank.mask(i), mask)


def test_pack_gathers_shapes_and_stores_repeats_once():
    bank = TemplateBank.geometric(6, 16, seed=1)
    packed = bank.pack([[0, 5, 5], [2, 1, 0]])
    assert {name: part.shape[0] for name, part in packed.items()} == dict.fromkeys(packed, 2)
    assert packed["offsets"][0, 1] == packed["offsets"][0, 2]
    for row, indices in enumerate([[0, 5, 5], [2, 1, 0]]):
        for k, index in enumerate(indices):
            start, size = packed["offsets"][row, k], tuple(packed["sizes"][row, k])
            count = -(-int(np.prod(size)) // 32)
            words = packed["words"][row, start : start + count]
            np.testing.assert_array_equal(unpack_mask(words, size), bank.mask(index))


def test_packed_lengths_are_powers_of_two_or_as_asked():
    bank = TemplateBank.geometric(4, 16)
    length = bank.pack([0, 1])["words"].shape[0]
    assert length & (length - 1) == 0
    assert bank.pack([0, 1], words=5000)["words"].shape == (5000,)
    with pytest.raises(ValueError, match="`words` must be >= "):
        bank.pack([0, 1, 2, 3], words=1)


def test_geometric_bank_is_fixed_by_its_seed_and_grows_at_its_end():
    small, large = TemplateBank.geometric(5, 32, seed=3), TemplateBank.geometric(9, 32, seed=3)
    assert large.names[:5] == small.names
    for i in range(5):
        np.testing.assert_array_equal(small.mask(i), large.mask(i))
    other = TemplateBank.geometric(5, 32, seed=4)
    assert other.names != small.names or (other.words.shape != small.words.shape)


def test_geometric_shapes_fill_their_box_and_vary():
    bank = TemplateBank.geometric(150, 32)
    kinds = {name.split("_")[0] for name in bank.names}
    assert kinds == {"ellipsoid", "superquadric", "blob", "shell", "tube", "branching"}
    assert bank.sizes.max() <= 32
    for i in range(len(bank)):
        mask = bank.mask(i)
        for axis in range(3):
            faces = mask.any(axis=tuple(a for a in range(3) if a != axis))
            assert faces[0]
            assert faces[-1]
    shares = np.array([bank.mask(i).mean() for i in range(len(bank))])
    assert shares.min() < 0.15
    assert shares.max() > 0.6


def test_shells_are_hollow():
    generators = (np.random.Generator(np.random.PCG64([0, i])) for i in range(200))
    shells = [m for kind, m in (draw_geometric_shape(g, 48) for g in generators) if kind == "shell"]
    filled = [mask.mean() for mask in shells if max(mask.shape) > 12]
    assert len(filled) > 10
    assert np.median(filled) < 0.45


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0, "side": 32}, "`count` must be >= 1"),
        ({"count": 1, "side": 8}, r"`side` must be in \[16, 1023\]"),
    ],
)
def test_geometric_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        TemplateBank.geometric(**arguments)


def test_bank_refuses_parts_that_do_not_fit():
    words = np.zeros(1, "int32")
    with pytest.raises(ValueError, match="`words` must hold every shape"):
        TemplateBank(words, [0], [[4, 4, 4]])
    with pytest.raises(ValueError, match="`sizes` must be in"):
        TemplateBank(words, [0], [[0, 4, 4]])
    with pytest.raises(ValueError, match="as many"):
        TemplateBank(words, [0], [[1, 1, 1]], ["a", "b"])
    bank = TemplateBank(words, [0], [[1, 1, 1]])
    with pytest.raises(ValueError, match="`indices` must be in"):
        bank.pack([1])


def test_joined_banks_hold_the_shapes_of_all():
    parts = [TemplateBank.geometric(3, 16, seed=1), TemplateBank.geometric(2, 24, seed=2)]
    bank = TemplateBank.joined(parts)
    assert bank.names == parts[0].names + parts[1].names
    masks = [part.mask(i) for part in parts for i in range(len(part))]
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(bank.mask(index), mask)
    with pytest.raises(ValueError, match="`banks` must hold at least one"):
        TemplateBank.joined([])
