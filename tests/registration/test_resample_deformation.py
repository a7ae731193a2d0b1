import numpy as np

from anyvox_keras.geometry import Grid
from anyvox_keras.registration import resample_deformation


def test_deformation_keeps_its_millimetres():
    coarse = Grid((6, 6, 6), np.diag([-2.0, 2.0, 3.0, 1.0]))
    fine = Grid((9, 9, 9), np.eye(4))
    field = np.broadcast_to([1.0, 2.0, 1.0], (6, 6, 6, 3))
    found = resample_deformation(field, coarse, fine)
    np.testing.assert_allclose(found, np.broadcast_to([-2.0, 4.0, 3.0], found.shape), atol=1e-5)
