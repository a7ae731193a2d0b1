"""Scans of one channel or several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Grid, Volume, require_same_grid, resample_to
from anyvox_keras.io import load_channels, load_volume


@dataclass(frozen=True, eq=False)
class Scan:
    """The channels of a scan, on one grid.

    Args:
        channels: A volume each; None for one that is missing, which is 0 everywhere.
    """

    channels: Sequence[Volume | None]

    @property
    def volume(self) -> Volume:
        """The first channel that there is: its grid, header and name are the scan's."""
        return next(channel for channel in self.channels if channel is not None)

    def on(self, grid: Grid, scaled: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Resample to a grid and scale each channel: `(D, H, W)`, or of several `(D, H, W, C)`."""
        arrays = [
            np.zeros(grid.shape, "float32")
            if channel is None
            else scaled(resample_to(channel, grid).array)
            for channel in self.channels
        ]
        return arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=-1)


def read_scan(source: Any) -> Scan:
    """Read a scan.

    Args:
        source: As `load_volume`, 4D images too, a channel in each volume; a list of its channels,
            None for one that is missing; or a `Scan`, which is returned.

    Raises:
        UserError: A file that can't be used, channels on different grids, none at all.

    Example:
        ```python
        >>> scan = read_scan([np.random.rand(4, 5, 6), None])
        >>> scan.on(scan.volume.grid, lambda image: image).shape
        (4, 5, 6, 2)
        ```
    """
    if isinstance(source, Scan):
        return source
    if not isinstance(source, list | tuple):
        return Scan(load_channels(source))
    channels = [None if one is None else load_volume(one) for one in source]
    present = [channel for channel in channels if channel is not None]
    if not present:
        raise UserError("image: expected a channel at least, received none")
    for channel in present[1:]:
        require_same_grid(channel, present[0])
    return Scan(channels)
