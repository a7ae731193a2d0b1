"""Losses that compare images or label maps: local NCC, MIND, mutual information, Dice."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras.errors import one_of
from anyvox_keras.export import export
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.features.feature_extractor import unit
from anyvox_keras.networks.any_network import copied
from anyvox_keras.ops import box_filter
from anyvox_keras.registration.descriptors.mind import mind_ssc
from anyvox_keras.registration.losses.registration_loss import RegistrationLoss
from anyvox_keras.types import Array, Distance

_TINY = 1e-7


@export
class LocalNCCLoss(RegistrationLoss):
    """One minus the squared local correlation of two images, for one modality.

    In the cube of N voxels around each voxel, with sums over it,

        c = (S_fm - S_f S_m / N)^2 / ((S_ff - S_f^2 / N) (S_mm - S_m^2 / N) + epsilon)

    and the loss is `1 - c`, the mean over channels. Zeros lie beyond the grid. One minus
    `neurite`'s `ncc`.

    Call with fixed and moved image `(B, D, H, W, C)`; one value per voxel.

    Args:
        window: Odd side of the cube.
        epsilon: Added to the denominator.

    Reference:
        Avants et al., Symmetric diffeomorphic image registration with cross-correlation, MIA 2008.

    Example:
        ```python
        x = np.random.rand(1, 12, 12, 12, 1).astype("float32")
        loss = LocalNCCLoss()(x, x)
        ```
    """

    def __init__(
        self, window: int = 9, epsilon: float = 1e-5, name: str = "local_ncc", **kwargs: Any
    ) -> None:
        super().__init__(name, **kwargs)
        if window < 1 or window % 2 == 0:
            raise ValueError(f"`window` must be odd. Received: window={window}")
        self.window = window
        self.epsilon = epsilon

    def call(self, y_true: Array, y_pred: Array) -> Array:
        """Return `(B, D, H, W)`."""
        moments = (y_true, y_pred, y_true * y_true, y_pred * y_pred, y_true * y_pred)
        channels = y_true.shape[-1]
        count = float(self.window**3)
        sums = box_filter(ops.concatenate(moments, axis=-1), self.window) * count
        f, m, ff, mm, fm = (sums[..., i * channels : (i + 1) * channels] for i in range(5))
        cross = ops.square(fm - f * m / count)
        variances = (ff - f * f / count) * (mm - m * m / count)
        return 1.0 - ops.mean(cross / (variances + self.epsilon), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "window": self.window, "epsilon": self.epsilon}


@export
class MINDLoss(RegistrationLoss):
    """Mean squared difference of the MIND-SSC descriptors of two images, whatever their contrasts.

    Call with fixed and moved image `(B, D, H, W, 1)`; one value per voxel.

    Args:
        radius: Of the patch, in voxels.
        dilation: Distance of the six neighbours, in voxels.

    Reference:
        Heinrich et al., MICCAI 2013; see `mind_ssc`.

    Example:
        ```python
        x = np.random.rand(1, 12, 12, 12, 1).astype("float32")
        loss = MINDLoss()(x, 1 - x)
        ```
    """

    def __init__(self, radius: int = 1, dilation: int = 2, name: str = "mind", **kwargs: Any):
        super().__init__(name, **kwargs)
        self.radius = radius
        self.dilation = dilation

    def call(self, y_true: Array, y_pred: Array) -> Array:
        """Return `(B, D, H, W)`."""
        fixed, moved = (mind_ssc(x, self.radius, self.dilation) for x in (y_true, y_pred))
        return ops.mean(ops.square(fixed - moved), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "radius": self.radius, "dilation": self.dilation}


@export
class MutualInformationLoss(RegistrationLoss):
    """Minus the mutual information of two images, by Gaussian Parzen windows.

    Each voxel is shared among `bins` centres in [0, 1] with weights `exp(-(x - c)^2 / (2 s^2))`,
    normalised; the joint histogram `p` is the mean over voxels of their products, and the loss
    `-sum p log(p / (p_f p_m))`. The law of MONAI's `GlobalMutualInformationLoss`.

    Call with images `(B, D, H, W, C)` scaled to [0, 1] (beyond, they are clipped); one value a
    sample.

    Args:
        bins: Number of centres.
        sigma_ratio: s over the distance of two centres.

    Reference:
        Qiu et al., Learning diffeomorphic and modality-invariant registration using B-splines,
        MIDL 2021; Viola and Wells, IJCV 1997.

    Example:
        ```python
        x = np.random.rand(1, 12, 12, 12, 1).astype("float32")
        loss = MutualInformationLoss()(x, 1 - x)
        ```
    """

    of_voxels = False

    def __init__(
        self,
        bins: int = 23,
        sigma_ratio: float = 0.5,
        name: str = "mutual_information",
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **kwargs)
        if bins < 2:
            raise ValueError(f"`bins` must be >= 2. Received: bins={bins}")
        self.bins = bins
        self.sigma_ratio = sigma_ratio

    def call(self, y_true: Array, y_pred: Array) -> Array:
        """Return `(B,)`."""
        fixed, moved = self._shares(y_true), self._shares(y_pred)
        joint = ops.matmul(ops.transpose(moved, (0, 2, 1)), fixed) / float(fixed.shape[1])
        product = ops.mean(moved, axis=1)[:, :, None] * ops.mean(fixed, axis=1)[:, None]
        ratio = (joint + _TINY) / (product + _TINY)
        return -ops.sum(joint * ops.log(ratio + _TINY), axis=(1, 2))

    def _shares(self, x: Array) -> Array:
        """Weights of each voxel's bins, `(B, voxels, bins)`."""
        centres = ops.convert_to_tensor(np.linspace(0, 1, self.bins, dtype="float32"))
        voxels = int(np.prod(x.shape[1:]))
        x = ops.reshape(ops.clip(x, 0.0, 1.0), (-1, voxels, 1))
        distance = (x - centres) * ((self.bins - 1) / self.sigma_ratio)
        return ops.softmax(-0.5 * ops.square(distance), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "bins": self.bins, "sigma_ratio": self.sigma_ratio}


@export
class DiceLoss(RegistrationLoss):
    """One minus the soft Dice overlap, the mean over labels.

    `Dice = (2 sum f m + epsilon) / (sum f^2 + sum m^2 + epsilon)` over space; one minus
    `neurite`'s `dice`.

    Call with one-hot labels `(B, D, H, W, L)`, the second warped linearly; one value per sample. A
    label that neither map holds counts as a Dice of one.

    Args:
        epsilon: Added to numerator and denominator.

    Reference:
        Milletari et al., V-Net, 3DV 2016.

    Example:
        ```python
        labels = np.eye(3, dtype="float32")[np.random.randint(0, 3, (1, 8, 8, 8))]
        loss = DiceLoss()(labels, labels)
        ```
    """

    of_voxels = False

    def __init__(self, epsilon: float = 1e-5, name: str = "dice", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.epsilon = epsilon

    def call(self, y_true: Array, y_pred: Array) -> Array:
        """Return `(B,)`."""
        space = (1, 2, 3)
        both = 2.0 * ops.sum(y_true * y_pred, axis=space) + self.epsilon
        each = ops.sum(ops.square(y_true) + ops.square(y_pred), axis=space) + self.epsilon
        return 1.0 - ops.mean(both / each, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


@export
class FeatureLoss(RegistrationLoss):
    """Distance between a network's features of the fixed and of the moved image.

    "cosine" is `1 - f.m / (|f| |m|)`, "squared" the mean over channels of `(f - m)^2`. Features
    that do not depend on the contrast make it a loss for any pair of modalities. The network is a
    frozen copy; its gradient reaches the image, never its weights.

    With `recompute`, call with fixed and moved image `(B, D, H, W, C)`: the features of the moved
    image are computed anew, and a network that is not equivariant to the deformation notices it.
    Without, call with features: those of each image once by `features`, the moving ones warped,
    which costs no pass through the network in a training step. One value per voxel either way;
    masks `(B, D, H, W)` are the `sample_weight`.

    Args:
        extractor: A `FeatureExtractor` (whose clip, rescaling and norm apply; its windows do not),
            or a function of `(B, D, H, W, C)` tensors that a gradient can pass. A saved model holds
            the extractor's weights; a function must be registered with Keras to be loaded again.
        distance: "cosine" or "squared".
        recompute: Whether the loss is called with images, rather than with features.

    Raises:
        ValueError: If `distance` is unknown.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np

        loss = avx.FeatureLoss(avx.FeatureExtractor(avx.UNet(width=4, levels=2)))
        fixed, moved = np.random.rand(2, 1, 16, 16, 16, 1).astype("float32")
        value = loss(fixed, moved, sample_weight=fixed[..., 0] > 0.5)
        ```
    """

    def __init__(
        self,
        extractor: FeatureExtractor | Callable[[Array], Array],
        distance: Distance = "cosine",
        recompute: bool = True,
        name: str = "feature",
        **kwargs: Any,
    ) -> None:
        super().__init__(name, **kwargs)
        one_of("distance", distance, Distance)
        self.extractor = extractor
        self.distance = distance
        self.recompute = recompute
        self._extract: Callable[[Any], Any] = (
            _InGraph(extractor) if isinstance(extractor, FeatureExtractor) else extractor
        )

    def features(self, image: Array) -> Array:
        """Compute `(B, D, H, W, F)` of images `(B, D, H, W, C)`, in the graph."""
        return self._extract(ops.convert_to_tensor(image, "float32"))

    def call(self, y_true: Array, y_pred: Array) -> Array:
        """Return `(B, D, H, W)`."""
        if self.recompute:
            y_true, y_pred = self.features(y_true), self.features(y_pred)
        if self.distance == "squared":
            return ops.mean(ops.square(y_true - y_pred), axis=-1)
        return 1.0 - ops.sum(unit(y_true, ops) * unit(y_pred, ops), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        extractor = keras.saving.serialize_keras_object(self.extractor)
        own = {"extractor": extractor, "distance": self.distance, "recompute": self.recompute}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FeatureLoss":
        """Rebuild the extractor, then the loss."""
        extractor = keras.saving.deserialize_keras_object(config["extractor"])
        return cls(**{**config, "extractor": extractor})


class _InGraph:
    """What a `FeatureExtractor` computes, as a function that a gradient can pass."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        self.extractor = extractor
        self.network = copied(extractor.backbone)
        self.network.trainable = False

    def __call__(self, image: Array) -> Array:
        features = self.network(self.extractor.prepare(image, ops), training=False)
        return self.extractor.normalise(ops.cast(features, "float32"), ops)
