"""Scans of one channel or several, and how their intensities are brought to [0, 1]."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Grid, Volume, min_max, require_same_grid, resample_to
from anyvox_keras.io import load_channels, load_volume
from anyvox_keras.types import IntensityScaling

# share of voxels, in per cent, that are cut off at each end
_TAIL = 0.5


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


@dataclass(frozen=True)
class Scaling:
    """Bring a scan's intensities to [0, 1].

    `percentiles` maps the 0.5th percentile to 0 and the 99.5th to 1 and cuts off what lies beyond,
    `minmax` the smallest and the largest value. A window maps two given values, such as HU of a CT,
    alike in every scan.

    Args:
        law: `"percentiles"` or `"minmax"`.
        window: The values that become 0 and 1; None lets each scan tell its own.

    Example:
        ```python
        >>> Scaling(window=(-100.0, 300.0))(np.array([-1000.0, 100.0, 900.0]))
        array([0. , 0.5, 1. ], dtype=float32)
        ```
    """

    law: IntensityScaling = "percentiles"
    window: Sequence[float] | None = None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the image in [0, 1], float32; a constant one becomes 0."""
        if self.window is None and self.law == "minmax":
            return min_max(image)
        low, high = self.window or np.percentile(image, (_TAIL, 100 - _TAIL))
        if high <= low:
            # Nearly all voxels are alike, as in a mask.
            return min_max(image)
        return np.clip((image - low) / (high - low), 0, 1).astype("float32")
