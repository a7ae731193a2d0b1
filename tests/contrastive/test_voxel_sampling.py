"""Voxels whose labels take turns."""

import numpy as np
from keras import ops

from anyvox_keras.backend import compiled, to_numpy
from anyvox_keras.contrastive.voxel_sampling import balance_positions


def test_labels_take_turns_and_a_small_one_gives_all_it_has():
    rng = np.random.default_rng(0)
    of_voxel = rng.permutation(np.repeat([0, 1, 2, 7], [3000, 900, 95, 5])).astype("int32")
    positions = np.stack([rng.permutation(4000)[:2000] for _ in range(3)]).astype("int32")
    labels = of_voxel[positions]
    balance = compiled(lambda p, y: balance_positions(p, y, 200))
    kept = to_numpy(balance(ops.convert_to_tensor(positions), ops.convert_to_tensor(labels)))
    for drawn, found in zip(positions, kept, strict=True):
        assert len(set(found)) == 200
        assert set(found) <= set(drawn)
        there = np.bincount(of_voxel[drawn], minlength=8)
        counts = np.bincount(of_voxel[found], minlength=8)
        # Independent statement of fairness: whoever gave less than the most gave all it had.
        for label in (0, 1, 2, 7):
            assert counts[label] == there[label] or counts[label] >= counts.max() - 1
        # And each label's first positions are the kept ones.
        for label in (0, 1, 2, 7):
            mine = drawn[of_voxel[drawn] == label]
            assert set(found[of_voxel[found] == label]) == set(mine[: counts[label]])
