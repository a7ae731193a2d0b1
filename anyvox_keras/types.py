"""What the package's annotations name: arrays of any framework, and the words options take."""

from collections.abc import Callable
from typing import Any, Literal, Protocol

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
Normalization = Literal["batch", "instance", "none"]
Pooling = Literal["max", "average"]
Upsampling = Literal["nearest", "trilinear", "corners"]

#: How a feature vector is normalised across channels: see `FeatureExtractor`.
FeatureNorm = Literal["none", "unit", "standard"]
#: How features are compared: see `registration.cost_volume`.
Distance = Literal["cosine", "squared"]
#: Norm of a displacement's slope: see `registration.GradientPenalty`.
Penalty = Literal["l1", "l2"]
#: Which features a registration compares: see `registration.FeatureSettings`.
FeatureKind = Literal["mind", "network", "both"]
#: The free parameters of a matrix: see `registration.align`.
AffineModel = Literal["rigid", "affine"]
#: Settings of the deformable stage by name: see `registration.settings_of`.
Profile = Literal["default", "convexadam", "diffeomorphic"]
#: What `VoxelMorphRun` minimises; `refine` knows all but the overlap of labels.
ImageLoss = Literal["feature", "mind", "mi", "ncc"]
PairLoss = Literal["feature", "mind", "mi", "ncc", "dice"]
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
#: What of a network is trained, beside a number of its last layers.
Part = Literal["all", "decoder", "head"]
Trained = Part | int
