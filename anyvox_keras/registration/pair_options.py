"""What may be known of the two images of a registration, beside the images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from anyvox_keras.types import AffineModel

#: a path, a nibabel image, a `Volume` or an array
ImageLike = Any
#: `(N, 3)` points, mm, RAS, or a file of them
PointsLike = Any


class PairOptions(TypedDict, total=False):
    """Arguments of `register` that come in pairs, and the affine stage's.

    Attributes:
        fixed_mask: Where the fixed image counts; path, image or array on its grid.
        moving_mask: The same of the moving image.
        fixed_clip: `(low, high)` of the fixed image for the network.
        moving_clip: The same of the moving image.
        fixed_seg: Labels of the fixed image on its grid, for the Dice.
        moving_seg: Labels of the moving image on its grid, for the Dice; they are warped, too.
        fixed_points: Landmarks of the fixed image, for the TRE: `(N, 3)`, mm, RAS, or a CSV file
            of `x,y,z`, mm, LPS.
        moving_points: The same landmarks of the moving image, in the same order.
        ras: Whether files of landmarks that do not say so themselves are in RAS.
        affine: "rigid" or "affine" (or true): first find such a map from many starts, for scans
            whose headers do not align them.
        initial: `(4, 4)`, mm, RAS: fixed world to moving world; or the file of an ITK affine
            transform. The affine stage, if any, begins there instead of at many starts.
    """

    fixed_mask: ImageLike
    moving_mask: ImageLike
    fixed_clip: Sequence[float] | None
    moving_clip: Sequence[float] | None
    fixed_seg: ImageLike
    moving_seg: ImageLike
    fixed_points: PointsLike
    moving_points: PointsLike
    ras: bool
    affine: AffineModel | bool | None
    initial: Path | str | Any | None


def require_known(options: PairOptions) -> None:
    """Refuse names that are no option of a pair, as Python does with unknown arguments."""
    unknown = sorted(set(options) - set(PairOptions.__annotations__))
    if unknown:
        raise TypeError(f"register() got an unexpected keyword argument '{unknown[0]}'")
