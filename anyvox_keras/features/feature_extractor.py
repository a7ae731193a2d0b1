"""Features of real volumes."""

import copy
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from anyvox_keras.backend import to_numpy
from anyvox_keras.errors import UserError, check_finite, check_volumes, one_of
from anyvox_keras.export import export
from anyvox_keras.features.sliding_window import join_slabs, sliding_window_slabs
from anyvox_keras.geometry import Volume, without_hot_voxels
from anyvox_keras.io import load_volume
from anyvox_keras.networks import DEFAULT, load_network, preset_metadata
from anyvox_keras.networks.any_network import (
    fixed_sides,
    input_channels,
    network_config,
    network_from_config,
    output_channels,
)
from anyvox_keras.types import Array, FeatureNorm

# added to a squared length
_TINY = 1e-12
# Peak of a pass, bytes per voxel and channel of the first level: measured at 96^3 and 144^3 with
# width 16, 51 (TensorFlow), 65 (JAX) and 111 (torch). One figure, so that what is computed does not
# depend on the backend.
_BYTES = 115
_WIDTH = 16
# windows chosen for memory: multiples of what the network pools by; they overlap by half
_STEP, _LARGEST, _OVERLAP = 16, 128, 0.5


@export
class FeatureExtractor:
    """Compute a backbone's features of a volume, as numpy.

    Intensities are clipped, then min-max normalised to [0, 1] per volume (a constant volume becomes
    0). The whole volume goes through the network at once, of any size, or, with `window`, by
    overlapping windows blended with Gaussian weights.

    Args:
        backbone: Any Keras network of `(B, D, H, W, 1)`, such as a `UNet`.
        clip: `(low, high)` intensities, such as (-450, 450) HU for abdominal CT, or None.
        rescale: Whether to min-max normalise.
        norm: Per-voxel normalisation across channels: `"none"`, `"unit"` (length 1) or
            `"standard"` (mean 0, std 1), as the instance-norm variant wants for registration.
        window: None for the whole volume, or, of a network of fixed sides such as a `ViT`, for
            windows of those; else a window's side, or its three sides. A volume that is smaller
            than a fixed window is extended by reflection, and its features are cut back.
        overlap: Fraction of a window's side that its neighbour also covers.
        sigma: Standard deviation of the blending weights, as a fraction of the window's side.
        window_batch: Number of windows computed at once.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np

        extractor = avx.FeatureExtractor(avx.UNet(width=4, levels=2), clip=(-450, 450))
        ct = np.random.default_rng(0).normal(0, 300, (20, 24, 18))  # or "ct.nii.gz"
        features = extractor(ct)  # (20, 24, 18, 16) float32
        ```
    """

    def __init__(
        self,
        backbone: keras.Model,
        clip: tuple[float, float] | None = None,
        rescale: bool = True,
        norm: FeatureNorm = "none",
        window: int | tuple[int, int, int] | None = None,
        overlap: float = 0.8,
        sigma: float = 0.25,
        window_batch: int = 1,
    ) -> None:
        if not isinstance(backbone, keras.Model):
            raise ValueError(f"`backbone` must be a Keras model. Received: {backbone!r}")
        if clip is not None and (np.shape(clip) != (2,) or not clip[0] < clip[1]):
            raise ValueError(f"`clip` must be (low, high). Received: clip={clip}")
        one_of("norm", norm, FeatureNorm)
        self.backbone = backbone
        self.clip = clip
        self.rescale = rescale
        self.norm = norm
        self._fixed = fixed_sides(backbone)
        self.window = (window,) * 3 if isinstance(window, int) else (window or self._fixed)
        if self._fixed and tuple(self.window or ()) != self._fixed:
            raise ValueError(f"`window` must be the network's, {self._fixed}. Received: {window}")
        self.overlap = overlap
        self.sigma = sigma
        self.window_batch = window_batch

    @classmethod
    def from_preset(cls, preset: str | os.PathLike[str] = DEFAULT, **kwargs: Any) -> Any:
        """Extract with the network of a preset, normalised as its metadata say.

        Args:
            preset: A preset's name (the packaged `anyvox-base` by default), its folder, or the
                folder of a pretraining run.
            **kwargs: The constructor's arguments; `norm` overrides the metadata's.

        Raises:
            UserError: If there is no such preset, or it can't be loaded.
        """
        norm = preset_metadata(preset).get("norm", "none")
        return cls(load_network(preset), **{"norm": norm, **kwargs})

    def __call__(self, volume: Any) -> np.ndarray:
        """Return `(D, H, W, F)` float32 of one volume, `(B, D, H, W, F)` of a batch.

        Args:
            volume: Array `(D, H, W)` or `(B, D, H, W, C)`, `Volume`, nibabel image, or a path.

        Raises:
            ValueError: If the array has another rank or holds values that are not finite.
            UserError: If a file or image can't be used.
        """
        array = _array(volume)
        check_volumes("volume", array if array.ndim == 5 else array[None], self._channels)
        single = array.ndim == 4
        # a few very bright voxels would compress all others
        batch = [without_hot_voxels(one) for one in (array[None] if single else array)]
        features = [self._features(np.asarray(self.prepare(one))) for one in batch]
        return features[0] if single else np.stack(features)

    def prepare(self, array: Array, xp: Any = np) -> Array:
        """Clip and rescale `(D, H, W, C)` or `(B, D, H, W, C)`, as the network expects it.

        Args:
            array: Intensities.
            xp: What computes: numpy, or `keras.ops` where a gradient has to pass.
        """
        if xp is np:  # float32 would round the steps of integers above 2^24 away
            array = np.asarray(array, np.result_type(array.dtype, "float32"))
        else:
            array = xp.cast(array, "float32")
        if self.clip is not None:
            array = xp.clip(array, *self.clip)
        if self.rescale:
            axes = tuple(range(len(array.shape) - 4, len(array.shape)))
            low, high = (limit(array, axis=axes, keepdims=True) for limit in (xp.min, xp.max))
            array = (array - low) / xp.where(high > low, high - low, 1.0)
        return np.asarray(array, "float32") if xp is np else array

    def normalise(self, features: Array, xp: Any = np) -> Array:
        """Normalise features across channels by `norm`; a vector of zeros stays zero.

        Args:
            features: `(..., F)` float32.
            xp: What computes: numpy or `keras.ops`.
        """
        if self.norm == "none":
            return features
        if self.norm == "standard":
            features = features - xp.mean(features, axis=-1, keepdims=True)
            return unit(features, xp) * float(features.shape[-1]) ** 0.5
        return unit(features, xp)

    def within(self, memory: float, shape: Sequence[int]) -> "FeatureExtractor":
        """Return an extractor that takes at most `memory` GB (2^30 bytes) for one volume.

        The memory of a pass grows with the voxels it sees. Where the whole volume does not fit, it
        is seen by windows of at most 128^3 that overlap by half; their features are similar to the
        whole volume's, not equal. An extractor that has a window already is returned as it is.

        Args:
            memory: GB, the features themselves included.
            shape: `(D, H, W)` of the volume.

        Raises:
            UserError: If not even a window of 32^3 fits.
        """
        if self.window is not None:
            return self
        # the features, their blended slabs and one copy
        held = 3 * 4 * output_channels(self.backbone) * float(np.prod(shape))
        width = getattr(self.backbone, "width", _WIDTH)
        voxels = (memory * 2**30 - held) / (_BYTES * width)
        if np.prod([-(-n // _STEP) * _STEP for n in shape]) <= voxels:
            return self
        side = min(_LARGEST, int(max(voxels, 0) ** (1 / 3)) // _STEP * _STEP)
        if side < 2 * _STEP:
            least = (held + _BYTES * width * (2 * _STEP) ** 3) / 2**30
            raise UserError(f"memory: expected at least {least:.1f} GB, received {memory:.1f}")
        smaller = copy.copy(self)
        smaller.window, smaller.overlap = (side,) * 3, _OVERLAP
        return smaller

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, the backbone with its weights."""
        names = ("clip", "rescale", "norm", "window", "overlap", "sigma", "window_batch")
        own = {name: getattr(self, name) for name in names}
        return {"backbone": network_config(self.backbone), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FeatureExtractor":
        """Rebuild the backbone, then the extractor."""
        return cls(**{**config, "backbone": network_from_config(config["backbone"])})

    @property
    def _channels(self) -> int | None:
        return input_channels(self.backbone)

    def _features(self, volume: np.ndarray) -> np.ndarray:
        if self.window is None:
            return np.asarray(self.normalise(self._predict(volume[None])[0]))
        d, h, w = volume.shape[:3]
        extended = self._extended(volume)
        slabs = sliding_window_slabs(
            extended, self._predict, self.window, self.overlap, self.sigma, self.window_batch
        )
        normalised = ((place, np.asarray(self.normalise(values))) for place, values in slabs)
        return join_slabs(normalised, extended.shape[0])[:d, :h, :w]

    def _extended(self, volume: np.ndarray) -> np.ndarray:
        """Reflect what is smaller than a window that the network insists on."""
        missing = [
            max(0, side - n) for side, n in zip(self._fixed or (0,) * 3, volume.shape, strict=False)
        ]
        if not any(missing):
            return volume
        return np.pad(volume, [*((0, n) for n in missing), (0, 0)], "reflect")

    def _predict(self, batch: np.ndarray) -> np.ndarray:
        # Not a plain call: torch would keep the graph, and nothing would be compiled.
        # Under TensorFlow's strategy each device has computed all of them.
        features = to_numpy(self.backbone.predict_on_batch(batch))[: len(batch)]
        return np.require(features, "float32", "W")  # JAX's may not be written to


def _array(volume: Any) -> np.ndarray:
    if isinstance(volume, (str, os.PathLike, Volume)) or hasattr(volume, "get_fdata"):
        return load_volume(volume).array[..., None]
    array = volume if isinstance(volume, np.ndarray) else to_numpy(volume)
    if array.ndim not in (3, 5):
        raise ValueError(
            f"`volume` must be (D, H, W) or (B, D, H, W, C). Received: shape={array.shape}"
        )
    if 0 in array.shape:
        raise ValueError(f"`volume` must hold voxels. Received: shape={array.shape}")
    check_finite("volume", array)
    array = np.asarray(array, "float32" if array.dtype == bool else None)
    return array[..., None] if array.ndim == 3 else array


def unit(x: Array, xp: Any = np) -> Array:
    """`x / |x|` along the last axis, zeros for zeros.

    Not `ops.normalize`, whose gradient at zero is not finite.
    """
    return x / xp.sqrt(xp.sum(xp.square(x), axis=-1, keepdims=True) + _TINY)
