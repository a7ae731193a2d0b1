"""What annotations name: arrays of any framework, the words options take, options of a pair."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypedDict

#: A function of arrays, as the backends compile them.
Function = Callable[..., Any]


class Array(Protocol):
    """An array of NumPy, TensorFlow, PyTorch or JAX, or a symbolic tensor of Keras.

    What all of them share, and so what may be done with one without `keras.ops`: read its shape
    and dtype, take a part, compare and calculate. Shapes are in the docstrings; extents of symbolic
    tensors may be None.

    Example:
        ```python
        def squared(x: Array) -> Array:
            return x * x

        squared(np.ones(3))
        squared(keras.ops.ones(3))
        ```
    """

    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def ndim(self) -> int: ...

    def __getitem__(self, index: Any, /) -> "Array": ...
    def __neg__(self) -> "Array": ...
    def __abs__(self) -> "Array": ...
    def __add__(self, other: Any, /) -> "Array": ...
    def __radd__(self, other: Any, /) -> "Array": ...
    def __sub__(self, other: Any, /) -> "Array": ...
    def __rsub__(self, other: Any, /) -> "Array": ...
    def __mul__(self, other: Any, /) -> "Array": ...
    def __rmul__(self, other: Any, /) -> "Array": ...
    def __truediv__(self, other: Any, /) -> "Array": ...
    def __rtruediv__(self, other: Any, /) -> "Array": ...
    def __floordiv__(self, other: Any, /) -> "Array": ...
    def __mod__(self, other: Any, /) -> "Array": ...
    def __pow__(self, other: Any, /) -> "Array": ...
    def __matmul__(self, other: Any, /) -> "Array": ...
    def __lt__(self, other: Any, /) -> "Array": ...
    def __le__(self, other: Any, /) -> "Array": ...
    def __gt__(self, other: Any, /) -> "Array": ...
    def __ge__(self, other: Any, /) -> "Array": ...
    def __and__(self, other: Any, /) -> "Array": ...
    def __or__(self, other: Any, /) -> "Array": ...
    def __xor__(self, other: Any, /) -> "Array": ...


#: What stands beyond the grid when a volume is sampled: see `ops.sample_linear`.
Outside = Literal["zeros", "edge", "symmetric"]
#: What a volume is padded with: see `ops.pad`.
Padding = Literal["reflect", "symmetric", "edge", "zeros"]
#: How values between voxels are found: linear for images, nearest for labels.
Interpolation = Literal["linear", "nearest"]
#: Which points of two grids coincide when one is resized to the other: see `ops.resize`.
Alignment = Literal["half_pixel", "corners"]

#: Layers of a network, see `UNet` and `UpSample`.
Normalization = Literal["batch", "instance", "instance_affine", "none"]
Pooling = Literal["max", "average"]
Upsampling = Literal["nearest", "trilinear", "corners"]

#: What a `ViT` does to each feature over space.
OutputNorm = Literal["none", "instance", "demean"]

#: How a feature vector is normalised across channels: see `FeatureExtractor`.
FeatureNorm = Literal["none", "unit", "standard"]
#: How features are compared: see `registration.cost_volume`.
Distance = Literal["cosine", "squared"]
#: The same in the descent, see `registration.AdamSettings`.
DescentDistance = Literal["squared", "cosine", "chord"]
#: Norm of a displacement's slope: see `registration.GradientPenalty`.
Penalty = Literal["l1", "l2"]
#: Which features a registration compares: see `registration.FeatureSettings`.
FeatureKind = Literal["mind", "network", "both"]
#: The free parameters of a matrix: see `registration.align`.
AffineModel = Literal["translation", "rigid", "affine"]
#: Settings of the deformable stage by name: see `registration.settings_of`.
Profile = Literal["default", "convexadam", "diffeomorphic"]
#: How `register` searches, by name: with one of these settings, or not at all.
Method = Literal[Profile, "none"]
#: What `VoxelMorphRun` minimises.
PairLoss = Literal["feature", "mind", "mi", "ncc", "dice"]
#: What a network's displacement is refined by: the descent of `register`, or a loss of images.
Refinement = Literal["descent", "feature", "mind", "mi", "ncc"]
#: Judgement of a registration: see `registration.Quality`.
Verdict = Literal["PASS", "WARN", "FAIL"]

#: Effects: the law of a blur, the polynomials of a bias field.
BlurKernel = Literal["erf", "sampled"]
BiasBasis = Literal["legendre", "power"]
#: What a synthetic pair holds.
PairEntry = Literal["label_map", "view1", "view2"]

#: Settings of runs: see `training.Settings` and its three kinds.
Precision = Literal["auto", "float32", "bfloat16", "float16"]
RecipeName = Literal["released", "paper"]
#: How the rarity of a label counts in the contrastive loss.
Weighting = Literal["raw", "sqrt"]
#: How much a segmenter's crops are changed: see `SegmentationSettings`.
Augmenting = Literal["wide", "light", "paper", "none"]
#: How a segmenter's scans are brought to [0, 1]: see `segmentation.Scaling`.
IntensityScaling = Literal["percentiles", "minmax"]
#: What of a network is trained, beside a number of its last layers.
Part = Literal["all", "decoder", "head"]
Trained = Part | int

#: A path, a nibabel image, a `Volume` or an array.
ImageLike = Any
#: `(N, 3)` points, mm, RAS, or a file of them.
PointsLike = Any
#: One image more, or several.
ChannelsLike = Sequence[ImageLike] | ImageLike
#: How much a term counts; true for 1.
Weight = float | bool | None
#: `(low, high)` intensities.
Clip = Sequence[float] | None


class PairOptions(TypedDict, total=False):
    """Arguments of `register` that come in pairs, and the affine stage's.

    The command line makes its flags of them, with the text beside each type as their help.

    Attributes:
        affine: "translation", "rigid" or "affine" (or true): first find such a map from many
            starts, for scans whose headers do not align them.
        initial: `(4, 4)`, mm, RAS: fixed world to moving world; or the file of an ITK affine
            transform. The affine stage, if any, begins there instead of at many starts.
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
        label_weight: Let the search see the labels, too: how much those that both label maps hold
            count beside the images; true for 1. By default they are only measured.
        landmark_weight: The same of the landmarks.
        fixed_channels: Further channels of the fixed image (its T2, say), a sequence of images in
            its world, on any grid that covers it. An image of its own may be 4D instead, with a
            channel in each volume.
        moving_channels: The same of the moving image, in the same order.
    """

    affine: Annotated[
        AffineModel | bool | None,
        "An affine stage first (affine, unless less is asked for), for scans not aligned.",
    ]
    initial: Annotated[Path | str | Any | None, "ITK affine file (.tfm) to start from."]
    fixed_mask: Annotated[ImageLike, "Where the fixed image counts."]
    moving_mask: Annotated[ImageLike, "Where the moving image counts."]
    fixed_clip: Annotated[Clip, "Clip the fixed image for the network."]
    moving_clip: Annotated[Clip, "Clip the moving image for the network."]
    fixed_seg: Annotated[ImageLike, "Labels of the fixed image, for the Dice."]
    moving_seg: Annotated[ImageLike, "Labels of the moving image, warped too."]
    fixed_points: Annotated[PointsLike, "Landmarks (CSV, x,y,z, mm, LPS), for the TRE."]
    moving_points: Annotated[PointsLike, "The same landmarks in the moving image."]
    ras: Annotated[bool, "Points of CSV files are RAS, not LPS as in ITK."]
    label_weight: Annotated[
        Weight, "Let the search see the labels, too: how much they count (1 unless given)."
    ]
    landmark_weight: Annotated[Weight, "Let the search see the landmarks, too, likewise."]
    fixed_channels: Annotated[ChannelsLike, "A further channel of the fixed image; repeats."]
    moving_channels: Annotated[ChannelsLike, "The same of the moving image, in the same order."]
