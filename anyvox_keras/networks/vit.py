"""The 3D vision transformer of the paper's authors."""

import secrets
from typing import Any

import keras
import numpy as np

from anyvox_keras.errors import check_volumes, one_of
from anyvox_keras.export import export
from anyvox_keras.networks.initializers import KaimingNormal
from anyvox_keras.networks.layers import AveragePool, ZeroConv3D
from anyvox_keras.networks.lean_inference import LeanInference
from anyvox_keras.networks.normalization import InstanceNorm
from anyvox_keras.networks.presets import Presets
from anyvox_keras.networks.vit_layers import Demean, PatchGrid, PatchTokens, ViTBlock
from anyvox_keras.types import OutputNorm

# voxels per axis of a patch: three levels of the tokenizer, three of the decoder
PATCH = 8
_LEVELS = 3
_FORMAT = "channels_last"


@export
class ViT(Presets, LeanInference, keras.Model):
    """3D vision transformer whose output has the input's grid (Wald et al., Primus, 2025).

    A convolutional tokenizer: a residual block at `width` channels, then three that halve the grid
    (widths 1, 2 and 4 times `width`, instance norm with scale and shift, ReLU), and a projection to
    `channels` per patch of 8^3 voxels. `depth` transformer blocks with rotary positions and
    `registers`. A decoder of three 2x transposed convolutions, layer norm across channels and GELU
    between. The defaults are the published `anatomix-dev-vit`, 26 million parameters.

    Takes `(B, side, side, side, input_channels)` and no other size: positions are learned. What
    features are wanted of, `FeatureExtractor` shows it window by window, at any size; pretraining
    and fine-tuning use crops of `side`. Returns one array of `output_channels`. Weights are drawn
    from `seed` alike on every backend.

    Args:
        input_channels: Channels of the input.
        output_channels: Features of each voxel.
        side: Voxels per axis, a multiple of 8.
        channels: Channels of a token.
        depth: Number of transformer blocks.
        heads: Number of attention heads; `channels / heads` must be a multiple of 6.
        registers: Number of register tokens.
        width: Channels of the tokenizer's first level.
        qk_norm: Whether queries and keys are normalised within each head. Older versions of `timm`
            ignore it: features that were made with those want False.
        epsilon: Added to the variance by instance norms.
        output_norm: What is done to each feature over space: `"demean"` subtracts its mean,
            `"instance"` also divides by its standard deviation, `"none"` nothing.
        seed: Seed of the initial weights; None draws one.

    Raises:
        ValueError: If a size does not fit.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np

        vit = avx.ViT(side=16, channels=24, depth=1, heads=2, output_channels=8, width=4)
        extractor = avx.FeatureExtractor(vit, overlap=0.5)
        extractor(np.zeros((20, 24, 18))).shape  # (20, 24, 18, 8)
        ```
    """

    def __init__(
        self,
        input_channels: int = 1,
        output_channels: int = 32,
        side: int = 128,
        channels: int = 396,
        depth: int = 12,
        heads: int = 6,
        registers: int = 8,
        width: int = 32,
        qk_norm: bool = True,
        epsilon: float = 1e-2,
        output_norm: OutputNorm = "demean",
        seed: int | None = None,
        dtype: Any = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        config: dict[str, Any] = dict(
            input_channels=input_channels,
            output_channels=output_channels,
            side=side,
            channels=channels,
            depth=depth,
            heads=heads,
            registers=registers,
            width=width,
            qk_norm=qk_norm,
            epsilon=epsilon,
            output_norm=output_norm,
            seed=seed,
        )
        _check(config)
        graph = _Graph(config, keras.dtype_policies.get(dtype or keras.config.dtype_policy()))
        super().__init__(graph.inputs, graph.outputs, name=name, trainable=trainable)
        for argument, value in config.items():
            setattr(self, argument, value)
        self._arguments = tuple(config)
        self._policy = graph.policy

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the features of `(B, side, side, side, input_channels)`."""
        if hasattr(inputs, "shape"):
            check_volumes("inputs", inputs, self.input_channels)
            if any(n not in (None, self.side) for n in inputs.shape[1:4]):
                raise ValueError(
                    f"`inputs` must have {self.side} voxels per axis; FeatureExtractor takes any "
                    f"size. Received: shape={tuple(inputs.shape)}"
                )
        return super().__call__(inputs, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        policy = keras.dtype_policies.serialize(self._policy)
        own = {name: getattr(self, name) for name in self._arguments}
        return {**own, "dtype": policy, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "ViT":
        """Build from `get_config`; the functional default would forget the class."""
        return cls(**config)


def decoder_channels(channels: int, output_channels: int) -> list[int]:
    """Channels after each doubling: a geometric series in multiples of 8, then the output's."""
    ratio = (channels / (2 * output_channels)) ** (1 / _LEVELS)
    inner = [channels / ratio**level for level in range(1, _LEVELS)]
    return [*(int(max(8, np.round((n + 1e-6) / 8) * 8)) for n in inner), output_channels]


def _check(config: dict[str, Any]) -> None:
    one_of("output_norm", config["output_norm"], OutputNorm)
    for name in ("input_channels", "output_channels", "channels", "depth", "heads", "width"):
        if config[name] < 1:
            raise ValueError(f"`{name}` must be >= 1. Received: {name}={config[name]}")
    if config["registers"] < 0:
        raise ValueError(f"`registers` must be >= 0. Received: registers={config['registers']}")
    if config["side"] < PATCH or config["side"] % PATCH:
        raise ValueError(f"`side` must be a multiple of {PATCH}. Received: side={config['side']}")
    if config["channels"] % (6 * config["heads"]):
        raise ValueError(
            "`channels` must be a multiple of 6 heads. "
            f"Received: channels={config['channels']}, heads={config['heads']}"
        )


class _Graph:
    """Lays the layers out."""

    def __init__(self, config: dict[str, Any], policy: Any) -> None:
        self.config, self.policy = config, policy
        self.seed = secrets.randbits(31) if config["seed"] is None else config["seed"]
        self.made = 0
        self.inputs = keras.Input((config["side"],) * 3 + (config["input_channels"],))
        self.outputs = self._decoded(self._transformed(self._tokenized(self.inputs)))

    def _tokenized(self, x: Any) -> Any:
        width = self.config["width"]
        x = self._residual(x, "stem", width, halve=False, bias=True)
        for level in range(_LEVELS):
            x = self._residual(x, f"stage_{level + 1}", width * 2**level, halve=True, bias=False)
        return self._conv("tokenizer", self.config["channels"], 1, bias=True)(x)

    def _residual(self, x: Any, name: str, filters: int, halve: bool, bias: bool) -> Any:
        y = self._conv(f"{name}_1", filters, 3, bias, halve)(x)
        y = self._relu(f"{name}_1")(self._norm(f"{name}_1")(y))
        y = self._norm(f"{name}_2")(self._conv(f"{name}_2", filters, 3, bias)(y))
        if halve:
            x = AveragePool(dtype=self.policy, name=f"{name}_pool")(x)
        if x.shape[-1] != filters:
            x = self._norm(f"{name}_skip")(self._conv(f"{name}_skip", filters, 1, False)(x))
        y = keras.layers.Add(dtype=self.policy, name=f"{name}_sum")([y, x])
        return self._relu(f"{name}_2")(y)

    def _transformed(self, x: Any) -> Any:
        grid = (self.config["side"] // PATCH,) * 3
        tokens = PatchTokens(
            self.config["registers"], seed=self._next_seed(), dtype=self.policy, name="tokens"
        )(x)
        for number in range(1, self.config["depth"] + 1):
            tokens = ViTBlock(
                self.config["heads"],
                grid,
                self.config["qk_norm"],
                number=number,
                seed=self._next_seed(),
                dtype=self.policy,
                name=f"block_{number}",
            )(tokens)
        norm = keras.layers.LayerNormalization
        tokens = norm(epsilon=1e-5, dtype=self.policy, name="blocks_norm")(tokens)
        return PatchGrid(grid, dtype=self.policy, name="patches")(tokens)

    def _decoded(self, x: Any) -> Any:
        sizes = decoder_channels(self.config["channels"], self.config["output_channels"])
        for level, filters in enumerate(sizes, 1):
            x = keras.layers.Conv3DTranspose(
                filters, 2, 2, "valid", data_format=_FORMAT,
                kernel_initializer=KaimingNormal(self._next_seed()), dtype=self.policy,
                name=f"decoder_{level}_up",
            )(x)  # fmt: skip
            if level < _LEVELS:
                norm = keras.layers.LayerNormalization
                x = norm(epsilon=1e-6, dtype=self.policy, name=f"decoder_{level}_norm")(x)
                act = keras.layers.Activation
                x = act("gelu", dtype=self.policy, name=f"decoder_{level}_act")(x)
        if self.config["output_norm"] == "demean":
            return Demean(dtype=self.policy, name="output_norm")(x)
        if self.config["output_norm"] == "instance":
            return InstanceNorm(self.config["epsilon"], dtype=self.policy, name="output_norm")(x)
        return x

    def _conv(self, name: str, filters: int, size: int, bias: bool, halve: bool = False) -> Any:
        common = dict(
            use_bias=bias,
            kernel_initializer=KaimingNormal(self._next_seed()),
            dtype=self.policy,
            name=f"{name}_conv",
        )
        if not halve:
            return ZeroConv3D(filters, size, **common)
        # Keras's own "same" would pad the far end only.
        pad = keras.layers.ZeroPadding3D(1, _FORMAT, dtype=self.policy, name=f"{name}_pad")
        conv = keras.layers.Conv3D(filters, size, 2, "valid", _FORMAT, **common)
        return lambda x: conv(pad(x))

    def _norm(self, name: str) -> keras.layers.Layer:
        epsilon = self.config["epsilon"]
        return InstanceNorm(epsilon, affine=True, dtype=self.policy, name=f"{name}_norm")

    def _relu(self, name: str) -> keras.layers.Layer:
        return keras.layers.ReLU(dtype=self.policy, name=f"{name}_act")

    def _next_seed(self) -> list[int]:
        self.made += 1
        return [self.seed, self.made]
