"""What a registration may take of a memory that the user bounds."""

import math
from collections.abc import Sequence

from anyvox_keras.errors import UserError

GIGABYTE = 2.0**30
# Python, the framework and its libraries
_PROGRAM = 1.0
# both images, their pooled features, warps and the results on the host; bytes a voxel
_HELD = 100
# MIND's twelve channels and what is in between, before they are pooled; bytes a voxel. Measured at
# 128^3, with what is held: 300 (torch), 400 (JAX), 450 (TensorFlow).
_MIND = 400


def room(memory: float, shape: Sequence[int], strict: bool = True) -> float:
    """Return the GB that one step of a registration may take of the process's `memory` GB.

    The program and what is held throughout come off; the features of MIND have to fit in the rest.
    What fits, a network's pass and a cost volume, is then made in as few pieces as the room allows.

    Args:
        memory: GB (2^30 bytes) that the whole process may take.
        shape: `(D, H, W)` of the fixed image.
        strict: Whether too little is a mistake; otherwise the least there can be is returned.

    Raises:
        UserError: If images of this size need more.
    """
    voxels = math.prod(shape)
    held = _PROGRAM + _HELD * voxels / GIGABYTE
    least = _MIND * voxels / GIGABYTE
    if memory - held >= least:
        return memory - held
    if strict:
        raise UserError(
            f"memory: expected at least {math.ceil(10 * (held + least)) / 10:.1f} GB for an image "
            f"of {tuple(shape)}, received {memory:g}"
        )
    return least
