"""What a network found in a scan."""

from dataclasses import dataclass, field

import numpy as np

from anyvox_keras.geometry import Volume
from anyvox_keras.glance import Glance


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Volume):
    """A label map that remembers the scan it was found in: both are shown together.

    Args:
        image: The scan, on the label map's grid.
        names: What the labels are called.
        confidence: The Dice that the network's probabilities expect of each label found, in [0, 1]:
            `2 sum p [found] / (sum p + sum [found])` on the working grid.

    Example:
        ```python
        >>> image = np.random.default_rng(0).normal(size=(8, 8, 8)).astype("float32")
        >>> found = Prediction((image > 0).astype("int32"), np.eye(4), image=image)
        >>> found.glance().facts[-1][0]
        'label 1, ml'
        ```
    """

    image: np.ndarray | None = None
    names: dict[int, str] = field(default_factory=dict)
    confidence: dict[int, float] = field(default_factory=dict)

    def glance(self) -> Glance:
        """The scan with the outlines of the labels, and the volume of each."""
        voxel = float(np.prod(self.spacing)) / 1000
        facts = [
            (f"{self.names.get(int(label), f'label {label}')}, ml", float(count * voxel))
            for label, count in zip(*np.unique(self.array, return_counts=True), strict=True)
            if label > 0
        ]
        own = super().glance()
        if self.image is None:
            return own
        return Glance(
            own.title, [*own.facts, *facts], {own.title: self.image}, self.affine, self.array,
            self.names,
        )  # fmt: skip
