"""Which axes the poolings of a UNet halve."""

import math
from collections.abc import Sequence


def pooling_strides(spacing: Sequence[float] | None, levels: int) -> list[tuple[int, ...]]:
    """Return of each pooling which axes it halves (2) and which it leaves (1).

    Args:
        spacing: Voxel size along each axis; None is the same along all.
        levels: Number of poolings.

    Example:
        ```python
        >>> pooling_strides((1.5, 1.5, 10.0), 3)
        [(2, 2, 1), (2, 2, 1), (2, 2, 2)]
        ```
    """
    now, found = list(spacing or (1.0, 1.0, 1.0)), []
    for _ in range(levels):
        strides = tuple(2 if mm < 2 * min(now) else 1 for mm in now)
        now = [mm * stride for mm, stride in zip(now, strides, strict=True)]
        found.append(strides)
    return found


def multiples(strides: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return by how much all of these poolings shorten each axis."""
    return tuple(math.prod(s[axis] for s in strides) for axis in range(3))
