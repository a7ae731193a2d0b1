"""What differs between VoxelMorph's releases beside the sizes of the network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Conventions:
    """Details that weights of a release count on.

    Args:
        upsampling: Of the decoder: a method of `UpSample`.
        projection: Whether a 1x1x1 convolution to three channels precedes the flow.
        outside: What a warp or composition reads beyond the grid.
        slope: Of the leaky ReLU below zero.
    """

    upsampling: str
    projection: bool
    outside: str
    slope: float


CONVENTIONS = {
    "0.3": Conventions("corners", projection=True, outside="zeros", slope=0.0),
    "0.2": Conventions("nearest", projection=False, outside="edge", slope=0.2),
}
