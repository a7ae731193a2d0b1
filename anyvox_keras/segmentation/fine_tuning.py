"""What is trained of a pretrained network, and at which rates."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from anyvox_keras.errors import options
from anyvox_keras.export import export
from anyvox_keras.networks import UNet
from anyvox_keras.types import Array, Part, Trained

#: what names of the decoder's layers begin with
DECODER = ("decoder_", "output_")


@export
class LayerRates(keras.optimizers.Adam):
    """Adam that trains the backbone at a fraction of the head's rate.

    Args:
        learning_rate: Rate of the head, a number or a schedule.
        backbone_rate: The backbone's rate as a share of it, in [0, 1].
        head: What the paths of the head's weights contain.
        **kwargs: Of `keras.optimizers.Adam`.

    Raises:
        ValueError: If `backbone_rate` is not in [0, 1].

    Example:
        ```python
        import anyvox_keras as avx
        from anyvox_keras.segmentation import LayerRates

        segmenter = avx.Segmenter(avx.UNet(width=4, levels=2), classes=1)
        segmenter.compile(LayerRates(2e-4, backbone_rate=0.1))
        ```
    """

    def __init__(
        self,
        learning_rate: Any = 2e-4,
        backbone_rate: float = 1.0,
        head: str = "segmentation_head",
        epsilon: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        if not 0 <= backbone_rate <= 1:
            raise ValueError(
                f"`backbone_rate` must be in [0, 1]. Received: backbone_rate={backbone_rate}"
            )
        super().__init__(learning_rate, epsilon=epsilon, **kwargs)
        self.backbone_rate, self.head = float(backbone_rate), head

    def _backend_update_step(
        self, grads: Sequence[Any], variables: Sequence[Any], rate: Array
    ) -> None:
        # The one place where every backend's optimizer still holds all weights and their rate.
        if self.backbone_rate == 1:
            super()._backend_update_step(grads, variables, rate)
            return
        pairs = list(zip(grads, variables, strict=True))
        for slow in (True, False):
            group = [(g, v) for g, v in pairs if (self.head not in v.path) == slow]
            if group:
                share = rate * self.backbone_rate if slow else rate
                super()._backend_update_step(*map(list, zip(*group, strict=True)), share)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        own = {"backbone_rate": self.backbone_rate, "head": self.head}
        return {**super().get_config(), **own}


def unfreeze(backbone: keras.Model, part: Trained) -> None:
    """Make a part of a backbone trainable and freeze the rest.

    Args:
        backbone: The network; `"decoder"` reads the layer names of a `UNet`.
        part: `"all"`; `"decoder"`, its levels and the output convolution; `"head"`, nothing of the
            backbone; or a number, its last layers with weights.

    Raises:
        ValueError: If `part` is unknown, below 0, or asks for a decoder where there is none.

    Example:
        ```python
        import anyvox_keras as avx
        from anyvox_keras.segmentation import unfreeze

        unet = avx.UNet(width=4, levels=2)
        unfreeze(unet, "decoder")
        ```
    """
    layers = [layer for layer in backbone.layers if layer.weights]
    chosen = _chosen(layers, part)
    # The model's own flag first: setting it reaches down to every layer.
    backbone.trainable = True
    for layer in layers:
        layer.trainable = layer.name in chosen


def fitted(network: UNet, spacing: Sequence[float], channels: int) -> UNet:
    """Return a UNet of the same weights whose poolings suit a voxel size; no weight hangs on them.

    Where it was made for another number of channels, each sees the mean of its first kernels, as a
    share: alike channels then give what one gave.

    Args:
        network: The UNet, which stays as it is.
        spacing: Voxel size along each axis.
        channels: Channels of the images.
    """
    own = {"spacing": tuple(spacing), "input_channels": channels}
    result = UNet.from_config({**network.get_config(), **own})
    first, *others = network.get_weights()
    if first.shape[3] != channels:
        share = first.mean(3, keepdims=True) * (first.shape[3] / channels)
        first = np.repeat(share, channels, axis=3)
    result.set_weights([first, *others])
    return result


def renew_decoder(backbone: UNet, seed: int) -> None:
    """Give the decoder and the output convolution random weights; the encoder keeps its own.

    Args:
        backbone: The network, changed in place.
        seed: Of the weights.
    """
    fresh = UNet.from_config({**backbone.get_config(), "seed": seed})
    for layer in backbone.layers:
        if layer.weights and layer.name.startswith(DECODER):
            layer.set_weights(fresh.get_layer(layer.name).get_weights())


def _chosen(layers: list[keras.Layer], part: Trained) -> set[str]:
    names = [layer.name for layer in layers]
    if isinstance(part, int) and not isinstance(part, bool) and part >= 0:
        return set(names[len(names) - min(part, len(names)) :])
    if part not in options(Part):
        known = ", ".join(options(Part))
        raise ValueError(f"`train` must be one of {known}, or a number >= 0. Received: {part!r}")
    if part == "all":
        return set(names)
    decoder = {name for name in names if name.startswith(DECODER)}
    if part == "decoder" and not decoder:
        raise ValueError(
            "`train='decoder'` needs layers named decoder_* or output_*. "
            f"Received: {', '.join(names[:5])}"
        )
    return decoder if part == "decoder" else set()
