"""How intensities of scans are brought to [0, 1]."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anyvox_keras.geometry import min_max
from anyvox_keras.types import IntensityScaling

# share of voxels, in per cent, that are cut off at each end
_TAIL = 0.5


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
