"""The anatomical family: the same everywhere, nested where it says so, as thin as tissues are."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import ConvexHull

import anyvox_keras as avx
from anyvox_keras.errors import UserError
from anyvox_keras.templates import draw_anatomical_shapes, open_banks
from anyvox_keras.templates.anatomical.family import KINDS
from anyvox_keras.templates.painting import enlarge, spline_field, warp_surfaces

SIDE, COUNT = 32, 60


@pytest.fixture(scope="module")
def bank():
    return avx.TemplateBank.anatomical(COUNT, SIDE)


def _rng(*key):
    return np.random.Generator(np.random.Philox(key=np.array(key, "uint64")))


def _same(a, b):
    assert a.names == b.names
    np.testing.assert_array_equal(a.groups, b.groups)
    assert all(np.array_equal(a.mask(i), b.mask(i)) for i in range(len(a)))


def test_a_group_depends_on_its_seed_number_and_side_alone(bank):
    _same(avx.TemplateBank.anatomical(25, SIDE), bank.first(25))
    number = int(bank.groups[24])
    masks = draw_anatomical_shapes(_rng(0, number), SIDE)[1]
    np.testing.assert_array_equal(
        bank.mask(int(np.flatnonzero(bank.groups == number)[0])), masks[0]
    )
    other = avx.TemplateBank.anatomical(5, SIDE, seed=1)
    assert any(not np.array_equal(other.mask(i), bank.mask(i)) for i in range(5))


def test_every_kind_is_drawn_at_the_smallest_side():
    for name, kind in KINDS.items():
        for n in (12, 16):
            masks = kind.draw(_rng(3, n), n)
            assert masks[0].any(), name
            for inner in masks[1:]:
                assert not (inner & ~masks[0]).any(), name


def test_members_of_a_group_share_a_box_and_lie_in_the_first(bank):
    assert bank.grouped
    sizes = np.bincount(bank.groups)
    assert set(sizes) <= {1, 2, 3}
    for group in np.flatnonzero(sizes > 1):
        organ, *inner = (bank.mask(i) for i in np.flatnonzero(bank.groups == group))
        for mask in inner:
            assert mask.shape == organ.shape
            assert mask.any()
            assert not (mask & ~organ).any()


def test_shapes_are_longer_than_the_grid_as_often_as_promised():
    generators = (_rng(7, i) for i in range(120))
    longest = [max(draw_anatomical_shapes(rng, 16)[1][0].shape) for rng in generators]
    # 30 +- 4.7 of 120
    assert 15 < sum(n > 16 for n in longest) < 46
    assert max(longest) <= 40


def test_shapes_are_as_thin_uneven_and_hollowed_as_tissues(bank):
    masks = [bank.mask(i) for i in range(COUNT)]
    solidity, variation, pieces = [], [], []
    for mask in (np.pad(mask, 1) for mask in masks if mask.sum() > 100):
        rim = np.argwhere(mask & ~ndimage.binary_erosion(mask))
        corners = rim[:, None] + np.indices((2, 2, 2)).reshape(3, -1).T
        solidity.append(mask.sum() / ConvexHull(corners.reshape(-1, 3)).volume)
        depth = ndimage.distance_transform_edt(mask)
        ridge = depth[(depth > 0) & (depth == ndimage.maximum_filter(depth, 3))]
        variation.append(ridge.std() / ridge.mean())
        pieces.append(ndimage.label(mask, np.ones((3, 3, 3)))[1])
    # five heads at side 128: 0.44; the geometric bank: 0.91
    assert np.median(solidity) < 0.6
    assert np.median(variation) > 0.25
    assert np.median(pieces) == 1
    assert np.mean(pieces) > 1.1


def test_a_cache_grows_and_is_not_taken_for_another(tmp_path, bank):
    path = tmp_path / "shapes.bank"
    _same(avx.TemplateBank.anatomical(10, SIDE, cache=path), bank.first(10))
    before = path.stat().st_mtime_ns
    _same(avx.TemplateBank.anatomical(8, SIDE, cache=path), bank.first(8))
    assert path.stat().st_mtime_ns == before
    _same(avx.TemplateBank.anatomical(COUNT, SIDE, cache=path), bank)
    with pytest.raises(UserError, match="delete it"):
        avx.TemplateBank.anatomical(10, SIDE, seed=1, cache=path)


def test_sources_are_mixed_and_groups_kept_apart(tmp_path, bank):
    bank.first(12).save(tmp_path / "few.bank")
    mixed = open_banks(f"geometric, anatomical,{tmp_path / 'few.bank'}", 9, SIDE)
    assert len(mixed) == 9 + 9 + 12
    groups = [*range(9), *(9 + bank.groups[:9]), *(9 + bank.groups[8] + 1 + bank.groups[:12])]
    np.testing.assert_array_equal(mixed.groups, groups)
    with pytest.raises(UserError, match="nowhere: expected `geometric` or `anatomical`"):
        open_banks("geometric,nowhere", 9, SIDE)


@pytest.mark.parametrize("arguments", [(0, 32), (4, 8), (4, 2000)])
def test_arguments_out_of_range(arguments):
    with pytest.raises(ValueError, match=r"`(count|side)` must be"):
        avx.TemplateBank.anatomical(*arguments)


def test_a_spline_field_is_scipys(rng):
    nodes = rng.standard_normal((6, 7, 8))
    shape = (9, 10, 11)
    axes = [1 + (np.arange(n) + 0.5) / n * (m - 3) for n, m in zip(shape, nodes.shape, strict=True)]
    places = np.meshgrid(*axes, indexing="ij")
    expected = ndimage.map_coordinates(nodes, places, order=3, prefilter=False)
    np.testing.assert_allclose(spline_field(nodes, shape), expected, atol=1e-5)


def test_a_warp_of_nothing_changes_nothing(rng):
    mask = rng.random((9, 12, 10)) < 0.5
    np.testing.assert_array_equal(warp_surfaces(rng, [mask], 0.0, 0.0)[0], mask)


def test_an_enlarged_ball_is_the_larger_ball():
    def ball(n):
        x = (np.arange(n) + 0.5) / n - 0.5
        return x[:, None, None] ** 2 + x[:, None] ** 2 + x**2 <= 0.16

    larger = enlarge(ball(24), 2.0)
    assert larger.shape == (48,) * 3
    assert (larger != ball(48)).mean() < 0.02
