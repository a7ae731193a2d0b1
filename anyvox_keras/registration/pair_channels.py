"""The channels of a pair: T1 and T2 to T1 and T2, say."""

from typing import Any

import numpy as np

from anyvox_keras import io
from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Volume, resample_to

# more are frames of a series, hardly contrasts
_MOST = 16
# of the first channel's voxels
_COVERED = 0.9
Sides = tuple[list[Volume], list[Volume]]


def read_channels(
    fixed: Any, moving: Any, fixed_more: Any = None, moving_more: Any = None
) -> tuple[tuple[Volume, Volume], Sides]:
    """Read both images with as many channels each.

    Args:
        fixed: The fixed image; a 4D one holds a channel in each volume.
        moving: The same of the moving image.
        fixed_more: Further channels of the fixed image: an image or a sequence of them, each in the
            first one's world, on any grid.
        moving_more: The same of the moving image, in the same order.

    Returns:
        The first channels, and the further ones of each side.

    Raises:
        UserError: Channels that cannot be read, whose numbers differ, or that do not cover their
            image.
    """
    sides = _read(fixed, fixed_more, "fixed"), _read(moving, moving_more, "moving")
    counts = len(sides[0]), len(sides[1])
    names = sides[0][0].name, sides[1][0].name
    if counts[0] != counts[1]:
        one = "one volume" if 1 in counts else "as many channels"
        many, few = (0, 1) if counts[0] > counts[1] else (1, 0)
        raise UserError(
            f"{names[many]}: expected {one}, as {names[few]} has, received {counts[many]} and "
            f"{counts[few]} channels"
        )
    if counts[0] > _MOST:
        raise UserError(f"{names[0]}: expected at most {_MOST} channels, received {counts[0]}")
    for first, *others in sides:
        for channel in others:
            _require_covered(first, channel)
    return (sides[0][0], sides[1][0]), (sides[0][1:], sides[1][1:])


def _read(source: Any, more: Any, side: str) -> list[Volume]:
    further = more if isinstance(more, list | tuple) else [] if more is None else [more]
    found = io.load_channels(source, f"{side} image")
    if len(found) > 1 and found[0].array.min() == found[0].array.max():
        raise UserError(f"{found[0].name}: expected a first channel that varies")
    for one in further:
        found += io.load_channels(one, f"{side} channel")
    return found


def _require_covered(first: Volume, channel: Volume) -> None:
    """What a channel does not show is continued, which may be a rim but not half an image."""
    everywhere = Volume(np.ones(channel.shape, bool), channel.affine)
    share = float(resample_to(everywhere, first.grid).array.mean())
    if share < _COVERED:
        raise UserError(
            f"{channel.name}: expected a channel that covers {first.name}, on any grid, received "
            f"one that covers {share:.0%} of it"
        )
