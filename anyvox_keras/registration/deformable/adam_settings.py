"""How the descent works."""

from dataclasses import dataclass

from anyvox_keras.errors import one_of
from anyvox_keras.types import DescentDistance


@dataclass(frozen=True)
class AdamSettings:
    """How `instance_optimisation` descends.

    Args:
        iterations: At most this many steps.
        learning_rate: Adam's, in voxels a step.
        smoothness: Weight of the squared differences of neighbouring displacements.
        passes: 3x3x3 means (zeros outside count) that smooth the parameters before use.
        distance: Between feature vectors: "squared", "cosine" (squared, at length one), or
            "chord", the distance itself at length one, so that what matches nowhere, an outline
            that one image lacks, does not dominate.
        velocity: The parameters are a stationary velocity, integrated by scaling and squaring, so
            that the map is a diffeomorphism.
        symmetric: With `velocity`, compare in both directions, through the exponential of `v` and
            of `-v`.
        tolerance: Stop when a step moves the mean voxel by less than this many voxels.
        stretch: Sample as ConvexAdam does, see `sample_displaced`.
        correlation: Weight of the images' own squared local correlation, see `descent_loss`.
    """

    iterations: int = 80
    learning_rate: float = 1.0
    smoothness: float = 0.75
    passes: int = 3
    distance: DescentDistance = "squared"
    velocity: bool = False
    symmetric: bool = False
    tolerance: float = 0.0
    stretch: bool = False
    correlation: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.iterations < 1:
            raise ValueError(f"`iterations` must be >= 1. Received: iterations={self.iterations}")
        if min(self.smoothness, self.tolerance, self.correlation) < 0 or self.learning_rate <= 0:
            raise ValueError(
                "`smoothness`, `tolerance` and `correlation` must be >= 0 and `learning_rate` > 0. "
                f"Received: {self.smoothness}, {self.tolerance}, {self.correlation}, "
                f"{self.learning_rate}"
            )
        one_of("distance", self.distance, DescentDistance)
        if self.symmetric and not self.velocity:
            raise ValueError("`symmetric` needs `velocity=True`. Received: velocity=False")
