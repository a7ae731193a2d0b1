"""The 3D UNet of the paper."""

import secrets
from collections.abc import Sequence
from typing import Any

import keras

from anyvox_keras.errors import check_count, check_volumes, one_of
from anyvox_keras.export import export
from anyvox_keras.extras import load_extra
from anyvox_keras.networks.checkpoint import state_of
from anyvox_keras.networks.initializers import AroundOne, KaimingNormal
from anyvox_keras.networks.layers import (
    AveragePool,
    CropLike,
    MaxPool,
    ReflectConv3D,
    ReflectPadToMultiple,
    UpSample,
)
from anyvox_keras.networks.lean_inference import LeanInference
from anyvox_keras.networks.normalization import BatchNorm, InstanceNorm
from anyvox_keras.networks.presets import Presets
from anyvox_keras.networks.strides import multiples, pooling_strides
from anyvox_keras.types import Array, Normalization, Pooling, Upsampling

OPTIONS = {"normalization": Normalization, "pooling": Pooling, "upsampling": Upsampling}


@export
class UNet(Presets, LeanInference, keras.Model):
    """3D UNet whose output has the input's grid (Dey et al., ICLR 2025).

    A stem convolution; `levels` encoder levels of two convolutions and 2x pooling, the first at
    `width` channels, each next at twice as many; a bottleneck of two; per decoder level a 2x
    upsampling, the skip in front of it along channels, and two convolutions at half the channels;
    a bare output convolution. Every convolution is 3x3x3 with reflect padding, followed by
    normalisation and ReLU, and has a bias only beside instance normalisation. The defaults are the
    published `anatomix`; `anatomix-dev` is `width=32, levels=5, output_channels=32,
    normalization="instance", epsilon=1e-2, pooling="average", upsampling="trilinear"`.

    Takes `(B, D, H, W, input_channels)`, any space: inside the graph it is padded by reflection to
    a multiple of `2**levels`, at least twice that, and cropped back. Returns one array
    `(B, D, H, W, output_channels)`. Weights are Kaiming normal (fan-in), batch-norm scales
    N(1, 0.02), drawn from `seed` alike on every backend.

    Args:
        input_channels: Channels of the input.
        output_channels: Features of each voxel.
        width: Channels of the first level.
        levels: Number of poolings.
        normalization: `"batch"`, `"instance"` (without scale and shift), `"instance_affine"`
            (with them) or `"none"`.
        epsilon: Added to the variance.
        pooling: `"max"` or `"average"`.
        upsampling: `"nearest"` or `"trilinear"`.
        skips: Whether the decoder sees the encoder's activations.
        spacing: Voxel size along each axis, in any unit. A pooling leaves out an axis whose voxels
            are at least twice as long as the shortest by then, so that scans of thick slices keep
            them; None pools all axes alike.
        seed: Seed of the initial weights; None draws one.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np

        unet = avx.UNet(width=8, levels=2)
        features = unet.predict_on_batch(np.zeros((1, 20, 24, 30, 1), "float32"))
        features.shape  # (1, 20, 24, 30, 16)
        ```
    """

    def __init__(
        self,
        input_channels: int = 1,
        output_channels: int = 16,
        width: int = 16,
        levels: int = 4,
        normalization: Normalization = "batch",
        epsilon: float = 1e-5,
        pooling: Pooling = "max",
        upsampling: Upsampling = "nearest",
        skips: bool = True,
        spacing: Sequence[float] | None = None,
        seed: int | None = None,
        dtype: Any = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        given = dict(normalization=normalization, pooling=pooling, upsampling=upsampling)
        config: dict[str, Any] = dict(
            input_channels=input_channels,
            output_channels=output_channels,
            width=width,
            levels=levels,
            epsilon=epsilon,
            skips=skips,
            spacing=None if spacing is None else tuple(float(mm) for mm in spacing),
            seed=seed,
            **given,
        )
        _check(config)
        graph = _Graph(config, keras.dtype_policies.get(dtype or keras.config.dtype_policy()))
        super().__init__(graph.inputs, graph.outputs, name=name, trainable=trainable)
        self.input_channels, self.output_channels = input_channels, output_channels
        self.width, self.levels, self.skips = width, levels, skips
        self.normalization, self.epsilon = normalization, epsilon
        self.pooling, self.upsampling = pooling, upsampling
        self.spacing, self.seed = config["spacing"], seed
        self._arguments = tuple(config)
        self._policy = graph.policy
        self.tap_names: dict[int, str] = graph.tap_names

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the features of `(B, D, H, W, input_channels)`."""
        # Keras would give an image without its last axis one, and take any other for channels.
        if hasattr(inputs, "shape"):
            check_volumes("inputs", inputs, self.input_channels)
        return super().__call__(inputs, *args, **kwargs)

    @property
    def contrastive_taps(self) -> tuple[str, ...]:
        """Layers that the paper's loss reads: coarse to fine, the output last.

        The last encoder level's second convolution, the bottleneck's first, the first of each
        decoder level but the finest, and the output convolution.
        """
        decoder = tuple(f"decoder_{level}_1_conv" for level in range(1, self.levels))
        return (f"encoder_{self.levels}_2_conv", "bottleneck_1_conv", *decoder, "output_conv")

    def with_taps(self, taps: Sequence[int | str]) -> keras.Model:
        """Return a model on the same weights that gives `{"output": y, tap: array, ...}`.

        Args:
            taps: Layer names, or indices in the paper's flat sequence (`tap_names` lists both). A
                tap is the bare output of that layer: a convolution's before norm and activation.
                On a grid pooled by `s` it keeps `max(1, side // s)` voxels per axis.
        """
        outputs = {"output": self.output}
        for tap in taps:
            tensor = self.get_layer(self._tap_name(tap)).output
            stride = self._stride(tap)
            crop = CropLike(stride, dtype=tensor.dtype, name=f"crop_tap_{tap}")
            outputs[str(tap)] = crop(tensor, self.input)
        return keras.Model(self.input, outputs, name=f"{self.name}_taps")

    def _tap_name(self, tap: int | str) -> str:
        name = self.tap_names.get(tap, "") if isinstance(tap, int) else tap
        if name not in self.tap_names.values():
            raise ValueError(
                f"A tap must be one of `tap_names`, an index or a name. Received: {tap!r}"
            )
        return name

    def _stride(self, tap: int | str) -> tuple[int, ...]:
        """Voxels of the input for one voxel of a tap, along each axis."""
        block, *rest = self._tap_name(tap).split("_")
        poolings = {"bottleneck": self.levels, "stem": 0, "output": 0}.get(block)
        if poolings is None:
            level = int(rest[0])
            poolings = self.levels - level if block == "decoder" else level - 1
            poolings += rest[1] == "pool"
        return multiples(pooling_strides(self.spacing, self.levels)[:poolings])

    def to_torch(self) -> Any:
        """Return a plain PyTorch module with the same weights, in evaluation mode, on any backend.

        It takes `(B, C, D, H, W)` of any size and needs PyTorch alone: with its class,
        `networks.torch_unet.TorchUNet`, it is used without Keras. Its state dict has the paper's
        keys.

        Raises:
            UserError: If PyTorch is not installed.
        """
        load_extra("torch", "a PyTorch module")
        from anyvox_keras.networks.torch_unet import twin

        names = [name for name in self._arguments if name != "seed"]
        return twin({name: getattr(self, name) for name in names}, state_of(self))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        policy = keras.dtype_policies.serialize(self._policy)
        own = {name: getattr(self, name) for name in self._arguments}
        return {**own, "dtype": policy, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "UNet":
        """Build from `get_config`; the functional default would forget the class."""
        return cls(**config)


# a level more would halve 1024 voxels to less than one
_DEEPEST = 10


def _check(config: dict[str, Any]) -> None:
    for name, kind in OPTIONS.items():
        one_of(name, config[name], kind)
    for name in ("input_channels", "output_channels", "width", "levels"):
        check_count(name, config[name])
    if config["levels"] > _DEEPEST:
        raise ValueError(f"`levels` must be <= {_DEEPEST}. Received: levels={config['levels']}")


class _Graph:
    """Lays the layers out and counts them as the paper's flat sequence does."""

    def __init__(self, config: dict[str, Any], policy: Any) -> None:
        self.config = config
        self.policy = policy
        self.seed = secrets.randbits(31) if config["seed"] is None else config["seed"]
        self.tap_names: dict[int, str] = {}
        self.inputs = keras.Input((None, None, None, config["input_channels"]), name="volume")
        self.outputs = self._lay_out()

    def _lay_out(self) -> Array:
        width, levels = self.config["width"], self.config["levels"]
        strides = pooling_strides(self.config["spacing"], levels)
        multiple = multiples(strides)
        least = [2 * n for n in multiple]
        pad = ReflectPadToMultiple(multiple, least, dtype=self.policy, name="pad")
        x = self._block(pad(self.inputs), "stem", width)
        skips = []
        for level in range(1, levels + 1):
            x = self._blocks(x, f"encoder_{level}", width * 2 ** (level - 1))
            skips.append(x)
            x = self._tap(self._pool(f"encoder_{level}_pool", strides[level - 1]), x)
        x = self._blocks(x, "bottleneck", width * 2**levels)
        for level in range(1, levels + 1):
            name = f"decoder_{level}"
            up = UpSample(
                self.config["upsampling"], strides[-level], dtype=self.policy, name=f"{name}_up"
            )
            x = self._tap(up, x)
            if self.config["skips"]:
                join = keras.layers.Concatenate(dtype=self.policy, name=f"{name}_join")
                x = join([skips[-level], x])
            x = self._blocks(x, name, width * 2 ** (levels - level))
        x = self._tap(self._conv("output", self.config["output_channels"]), x)
        return CropLike(dtype=self.policy, name="crop")(x, self.inputs)

    def _tap(self, layer: keras.layers.Layer, x: Array) -> Array:
        self.tap_names[len(self.tap_names)] = layer.name
        return layer(x)

    def _blocks(self, x: Array, name: str, filters: int) -> Array:
        return self._block(self._block(x, f"{name}_1", filters), f"{name}_2", filters)

    def _block(self, x: Array, name: str, filters: int) -> Array:
        x = self._tap(self._conv(name, filters), x)
        x = self._tap(self._norm(name), x)
        return self._tap(keras.layers.ReLU(dtype=self.policy, name=f"{name}_act"), x)

    def _conv(self, name: str, filters: int) -> keras.layers.Layer:
        return ReflectConv3D(
            filters,
            use_bias=self.config["normalization"] == "instance",
            kernel_initializer=KaimingNormal([self.seed, len(self.tap_names)]),
            dtype=self.policy,
            name=f"{name}_conv",
        )

    def _norm(self, name: str) -> keras.layers.Layer:
        kind, epsilon = self.config["normalization"], self.config["epsilon"]
        common = dict(dtype=self.policy, name=f"{name}_norm")
        if kind == "batch":
            scales = AroundOne(seed=[self.seed, len(self.tap_names)])
            return BatchNorm(epsilon=epsilon, gamma_initializer=scales, **common)
        if kind in ("instance", "instance_affine"):
            return InstanceNorm(epsilon, affine=kind == "instance_affine", **common)
        # Keeps the flat sequence's count where there is nothing to normalise.
        return keras.layers.Identity(**common)

    def _pool(self, name: str, strides: tuple[int, ...]) -> keras.layers.Layer:
        if self.config["pooling"] == "max":
            return MaxPool(strides, dtype=self.policy, name=name)
        return AveragePool(strides, dtype=self.policy, name=name)
