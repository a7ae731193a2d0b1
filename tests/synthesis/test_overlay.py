"""Painted templates against scipy's periodic affine transform."""

import numpy as np
import pytest
from keras import ops
from scipy import ndimage
from synthesis.halves import applied, drawn

from anyvox_keras.backend import compiled, to_numpy
from anyvox_keras.random import keys_for
from anyvox_keras.synthesis import LabelEnsemble
from anyvox_keras.templates import TemplateBank
from anyvox_keras.templates.bank_file import PackedMask, pack_box

SIDE = 24


def _padded(mask, side):
    """Pad as the law says: to at least the side, the odd voxel in front."""
    pads = [max(0, side - n) for n in mask.shape]
    return np.pad(mask, [((p + 1) // 2, p // 2) for p in pads])


def _painted(bank, chosen, params, sample, side):
    labels = np.zeros((side,) * 3, int)
    for k in range(int(params["count"][sample])):
        matrix = np.eye(4)
        matrix[:3, :3] = params["matrix"][sample, k]
        matrix[:3, 3] = params["translation"][sample, k]
        template = _padded(bank.mask(chosen[k]).astype("uint8"), side)
        moved = ndimage.affine_transform(template, matrix, order=0, mode="grid-wrap")
        labels[moved[:side, :side, :side] > 0] = k
    return ndimage.median_filter(labels, size=3, mode="nearest")


@pytest.fixture(scope="module")
def bank():
    rng = np.random.default_rng(0)
    masks = [TemplateBank.geometric(12, SIDE).mask(i) for i in range(12)]
    # Larger than the grid along some axes, and exactly as large.
    masks += [rng.random((40, 7, 24)) < 0.8, np.ones((5, 31, 3)), np.ones((24, 24, 2))]
    return TemplateBank.from_masks(masks)


def test_law_of_the_table(bank):
    ensemble = LabelEnsemble(SIDE, count=(3, 9), foreground=0.0)
    chosen = np.array([[14, 0, 12, 3, 13, 5, 6, 7], [8, 12, 9, 13, 10, 14, 11, 1]])
    params = drawn(ensemble, keys_for(5, range(2)))
    labels = applied(ensemble, bank.pack(chosen), params)
    for sample in range(2):
        expected = _painted(bank, chosen[sample], params, sample, SIDE)
        # Coordinates on the border of two voxels may fall to either side.
        assert (labels[sample] != expected).mean() < 5e-4


def test_identity_puts_the_padded_template_on_the_grid(bank):
    ensemble = LabelEnsemble(SIDE, (2, 3), 1.0, 0.0, 0.0, 0.0, foreground=0.0)
    params = drawn(ensemble, keys_for(0, [0]))
    params["matrix"] = np.eye(3, dtype="float32")[None, None].repeat(2, axis=1)
    box = TemplateBank.from_masks([np.ones((1, 1, 1)), np.ones((7, 9, 11))])
    labels = applied(ensemble, box.pack([[0, 1]]), params)
    expected = ndimage.median_filter(_padded(np.ones((7, 9, 11), int), SIDE), 3, mode="nearest")
    np.testing.assert_array_equal(labels[0], expected)


def test_looking_everywhere_or_in_boxes_paints_the_same(bank):
    """Compiled programs look at every voxel, eager torch only at those in a bounding box."""
    ensemble = LabelEnsemble(SIDE, count=(4, 9))
    packed = bank.pack(np.random.default_rng(1).integers(0, len(bank), (2, 8)))
    keys = ops.convert_to_tensor(keys_for(9, range(2)))
    names = list(packed)

    def paint(keys, *parts):
        params = ensemble.sample(keys)
        return ensemble.apply(dict(zip(names, parts, strict=True)), params)

    parts = [ops.convert_to_tensor(packed[name]) for name in names]
    eager, jitted = paint(keys, *parts), compiled(paint)(keys, *parts)
    np.testing.assert_array_equal(to_numpy(eager), to_numpy(jitted))


def test_torch_traced_equals_eager(bank, monkeypatch):
    from anyvox_keras.synthesis.labels import overlay

    ensemble = LabelEnsemble(SIDE, count=(4, 9), foreground=0.0)
    packed = bank.pack(np.random.default_rng(2).integers(0, len(bank), (1, 8)))
    params = drawn(ensemble, keys_for(9, [0]))
    sparse = applied(ensemble, packed, params)
    monkeypatch.setattr(overlay, "is_eager_on_cpu", lambda _: False)
    np.testing.assert_array_equal((applied(ensemble, packed, params)), sparse)


def test_shared_words_equal_own_words(bank):
    ensemble = LabelEnsemble(SIDE, count=(3, 5))
    chosen = np.array([[0, 1, 2, 3], [4, 5, 6, 12]])
    params = drawn(ensemble, keys_for(1, range(2)))
    own = applied(ensemble, bank.pack(chosen), params)
    shared = {
        "words": bank.words,
        "offsets": bank.offsets[chosen].astype("int32"),
        "sizes": bank.sizes[chosen],
    }
    np.testing.assert_array_equal((applied(ensemble, shared, params)), own)


def test_members_of_a_group_are_placed_together():
    ensemble = LabelEnsemble(SIDE, count=(6, 7), foreground=0.0)
    organ = np.ones((9, 12, 10), bool)
    inner = organ.copy()
    inner[:3] = inner[:, 8:] = False
    apart = TemplateBank.geometric(4, SIDE)
    shapes = [apart.mask(0), organ, inner, apart.mask(1)]
    packed = [PackedMask(str(i), *pack_box(mask)) for i, mask in enumerate(shapes)]
    bank = TemplateBank.from_packed(packed, groups=[0, 1, 1, 2])
    chosen = bank.members([2, 1, 1, 0, 1, 2])
    np.testing.assert_array_equal(chosen, [3, 1, 2, 1, 2, 0])
    packed = bank.pack(chosen[None])
    np.testing.assert_array_equal(packed["leaders"], [[0, 1, 1, 3, 3, 5]])
    params = drawn(ensemble, keys_for(3, [0]))
    labels = applied(ensemble, packed, params)
    for name in ("matrix", "translation"):
        params[name] = params[name][:, packed["leaders"][0]]
    expected = _painted(bank, chosen, params, 0, SIDE)
    assert (labels[0] != expected).mean() < 5e-4
