"""Which part of a backbone is trained."""

import keras

Part = str | int

PARTS = ("all", "decoder", "head")


def unfreeze(backbone: keras.Model, part: Part) -> None:
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


def _chosen(layers: list[keras.Layer], part: Part) -> set[str]:
    names = [layer.name for layer in layers]
    if isinstance(part, int) and not isinstance(part, bool) and part >= 0:
        return set(names[len(names) - min(part, len(names)) :])
    if part not in PARTS:
        known = ", ".join(PARTS)
        raise ValueError(f"`train` must be one of {known}, or a number >= 0. Received: {part!r}")
    if part == "all":
        return set(names)
    decoder = {name for name in names if name.startswith(("decoder_", "output_"))}
    if part == "decoder" and not decoder:
        raise ValueError("`train` must not be 'decoder' for a backbone without one. Received: it")
    return decoder if part == "decoder" else set()
