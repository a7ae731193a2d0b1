"""Layers of the vision transformer: tokens with positions, rotary attention, gated perceptron."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from anyvox_keras.export import export
from anyvox_keras.networks.initializers import AroundZero

# spread of the first weights of linear layers, registers and positions
_STD = 0.02
# of the wavelengths of the rotary positions
_TEMPERATURE = 10000.0


@export
class PatchTokens(keras.layers.Layer):
    """Turn a grid of patches into a sequence of tokens that know their place.

    `(B, d, h, w, C)` becomes `(B, registers + d h w, C)`: learned registers, the same for every
    volume, stand in front, and a learned vector of each place is added to all.

    Args:
        registers: Number of register tokens.
        seed: Seed of the first values; an integer or a sequence of them.
    """

    def __init__(self, registers: int = 8, seed: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.registers, self.seed = registers, seed

    def build(self, input_shape: Sequence[int]) -> None:
        """Create the registers `(1, n, C)` and the positions `(1, n + d h w, C)`."""
        channels, tokens = input_shape[-1], int(np.prod(input_shape[1:4])) + self.registers
        self.register = self.add_weight(
            (1, self.registers, channels), initializer=_normal(self.seed, 0), name="register"
        )
        self.position = self.add_weight(
            (1, tokens, channels), initializer=_normal(self.seed, 1), name="position"
        )

    def call(self, patches: Any) -> Any:
        """Flatten, prepend, add."""
        batch, *grid, channels = ops.shape(patches)
        tokens = ops.reshape(patches, (batch, int(np.prod(grid)), channels))
        register = ops.cast(ops.convert_to_tensor(self.register), tokens.dtype)
        first = ops.broadcast_to(register, (batch, self.registers, channels))
        position = ops.cast(ops.convert_to_tensor(self.position), tokens.dtype)
        return ops.concatenate([first, tokens], axis=1) + position

    def compute_output_shape(self, input_shape: Sequence[int]) -> tuple[int | None, ...]:
        """Count the tokens."""
        return (
            input_shape[0],
            int(np.prod(input_shape[1:4])) + self.registers,
            input_shape[-1],
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "registers": self.registers, "seed": self.seed}


@export
class PatchGrid(keras.layers.Layer):
    """Put the tokens behind the registers back on their grid, `(B, d, h, w, C)`.

    Args:
        grid: Sides `(d, h, w)`.
    """

    def __init__(self, grid: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = tuple(grid)

    def call(self, tokens: Any) -> Any:
        """Leave the registers out."""
        batch, _, channels = ops.shape(tokens)
        return ops.reshape(tokens[:, -int(np.prod(self.grid)) :], (batch, *self.grid, channels))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Give the grid."""
        return (input_shape[0], *self.grid, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "grid": list(self.grid)}


@export
class ViTBlock(keras.layers.Layer):
    """Attention with rotary positions, then a gated perceptron, each added to what it read.

    `x + g1 A(N(x))`, then `x + g2 M(N(x))`, with layer norm N and a learned scale per channel g
    (Fang et al., EVA-02, 2023; Wald et al., Primus, 2025). Queries and keys are layer-normalised
    within each head and turned by angles that grow with their place along the three axes; the
    joined heads are layer-normalised before their projection. `M(x) = W N(silu(G x) * X x)` with
    `8/3` as many channels inside.

    Args:
        heads: Number of attention heads.
        grid: Sides `(d, h, w)` of the grid that the last tokens lie on; those before, the
            registers, have no place and are not turned.
        qk_norm: Whether queries and keys are normalised. The weights for it are there either way:
            the authors' checkpoints hold them, and older versions of `timm` do not apply them.
        scale: First value of the learned scales.
        number: Number of the block, from 1: the last layer of each branch starts smaller by
            `sqrt(2 number)`.
        seed: Seed of the first weights; an integer or a sequence of them.

    Example:
        ```python
        tokens = np.zeros((1, 8 + 64, 24), "float32")
        ViTBlock(heads=2, grid=(4, 4, 4))(tokens)  # (1, 72, 24)
        ```
    """

    def __init__(
        self,
        heads: int,
        grid: Sequence[int],
        qk_norm: bool = True,
        scale: float = 0.1,
        number: int = 1,
        seed: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.heads, self.grid, self.qk_norm, self.scale = heads, tuple(grid), qk_norm, scale
        self.number, self.seed = number, seed

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the layers for tokens of `C` channels."""
        channels = int(input_shape[-1] or 0)
        if channels % (6 * self.heads):
            raise ValueError(
                f"`heads` must divide the channels into multiples of 6. Received: "
                f"heads={self.heads}, channels={channels}"
            )
        inner, head = channels * 8 // 3, channels // self.heads
        small = _STD / (2 * self.number) ** 0.5
        self.norm1 = self._norm(channels, "norm1")
        self.query = self._dense(channels, channels, "query", 0)
        self.key = self._dense(channels, channels, "key", 1, bias=False)
        self.value = self._dense(channels, channels, "value", 2)
        self.query_norm = self._norm(head, "query_norm")
        self.key_norm = self._norm(head, "key_norm")
        self.heads_norm = self._norm(channels, "heads_norm")
        self.projection = self._dense(channels, channels, "projection", 3, small)
        self.norm2 = self._norm(channels, "norm2")
        self.gate = self._dense(channels, inner, "gate", 4)
        self.widen = self._dense(channels, inner, "widen", 5)
        self.inner_norm = self._norm(inner, "inner_norm")
        self.narrow = self._dense(inner, channels, "narrow", 6, small)
        start = keras.initializers.Constant(self.scale)
        self.scale1, self.scale2 = (
            self.add_weight((channels,), initializer=start, name=name)
            for name in ("scale1", "scale2")
        )
        self._turn = rotary_positions(self.grid, head)

    def _dense(
        self, channels: int, units: int, name: str, number: int, std: float = _STD,
        bias: bool = True,
    ) -> keras.layers.Layer:  # fmt: skip
        first = _normal(self.seed, number, std)
        dense = keras.layers.Dense(
            units, use_bias=bias, kernel_initializer=first, dtype=self.dtype_policy, name=name
        )
        dense.build((None, None, channels))
        return dense

    def _norm(self, channels: int, name: str) -> keras.layers.Layer:
        norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=self.dtype_policy, name=name)
        norm.build((None, None, channels))
        return norm

    def call(self, tokens: Any) -> Any:
        """Add what attention and perceptron say to `(B, N, C)`."""
        scale1, scale2 = (
            ops.cast(ops.convert_to_tensor(w), self.compute_dtype)
            for w in (self.scale1, self.scale2)
        )
        tokens = tokens + scale1 * self._attend(self.norm1(tokens))
        normed = self.norm2(tokens)
        inner = ops.silu(self.gate(normed)) * self.widen(normed)
        return tokens + scale2 * self.narrow(self.inner_norm(inner))

    def _attend(self, tokens: Any) -> Any:
        query, key = self._split(self.query(tokens)), self._split(self.key(tokens))
        if self.qk_norm:
            query, key = self.query_norm(query), self.key_norm(key)
        value = self._split(self.value(tokens))
        joined = ops.dot_product_attention(self._turned(query), self._turned(key), value)
        return self.projection(self.heads_norm(ops.reshape(joined, ops.shape(tokens))))

    def _split(self, tokens: Any) -> Any:
        batch, count, channels = ops.shape(tokens)
        return ops.reshape(tokens, (batch, count, self.heads, channels // self.heads))

    def _turned(self, x: Any) -> Any:
        """Turn each pair of channels of the placed tokens, `(B, N, heads, c)`."""
        cos, sin = (ops.cast(ops.convert_to_tensor(a), x.dtype) for a in self._turn)
        free = x[:, : -cos.shape[0]]
        placed = x[:, -cos.shape[0] :]
        pairs = ops.reshape(placed, (*ops.shape(placed)[:-1], placed.shape[-1] // 2, 2))
        crossed = ops.stack([-pairs[..., 1], pairs[..., 0]], axis=-1)
        crossed = ops.reshape(crossed, ops.shape(placed))
        turned = placed * cos[None, :, None] + crossed * sin[None, :, None]
        return ops.concatenate([free, turned], axis=1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Keep the shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        names = ("heads", "qk_norm", "scale", "number", "seed")
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own, "grid": list(self.grid)}


@export
class Demean(keras.layers.Layer):
    """Subtract from each channel of `(B, D, H, W, C)` its mean over space, taken in float32."""

    def call(self, volumes: Any) -> Any:
        """Centre each channel."""
        mean = ops.mean(ops.cast(volumes, "float32"), axis=(1, 2, 3), keepdims=True)
        return volumes - ops.cast(mean, volumes.dtype)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Keep the shape."""
        return tuple(input_shape)


def rotary_positions(grid: Sequence[int], channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cosine and sine of the angle that each channel of each place is turned by.

    Along each axis the voxel's number times `10000^(-k / n)`, for k = 0 ... n - 1 and
    `n = channels / 6`; channels come in pairs of one angle (Su et al., RoFormer, 2021).

    Args:
        grid: Sides `(d, h, w)`.
        channels: Of a head, a multiple of 6.

    Returns:
        Two arrays `(d h w, channels)` float32.
    """
    count = channels // 6
    bands = _TEMPERATURE ** (-np.arange(count) / count)
    places = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), -1).reshape(-1, 3)
    angles = np.repeat((places[..., None] * bands).reshape(len(places), -1), 2, axis=1)
    return np.cos(angles).astype("float32"), np.sin(angles).astype("float32")


def _normal(seed: Any, number: int, std: float = _STD) -> keras.initializers.Initializer:
    sequence = [seed] if isinstance(seed, int) else list(seed or [])
    return AroundZero(std, [*sequence, number] if sequence else None)
