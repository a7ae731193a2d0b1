"""Where a contrastive loss reads a backbone."""

from collections.abc import Sequence

import keras


def default_taps(backbone: keras.Model) -> list[str]:
    """Name the layers that are read where no taps are given.

    Args:
        backbone: A `UNet`, whose `contrastive_taps` are the paper's; of any other model only the
            output, `"output"`, is read.
    """
    return list(getattr(backbone, "contrastive_taps", ("output",)))


def with_taps(backbone: keras.Model, taps: Sequence[int | str]) -> keras.Model:
    """Return a model on the same weights that gives `{"output": y, tap: array, ...}`.

    Args:
        backbone: A `UNet`, or any functional or sequential model of volumes `(B, D, H, W, C)`.
        taps: Names of its layers, or `"output"`; of a `UNet` also indices.

    Raises:
        ValueError: If the model has no graph of layers, or a tap is none of them or no volume.
    """
    if hasattr(backbone, "with_taps"):
        return backbone.with_taps(taps)
    if not getattr(backbone, "outputs", None):
        raise ValueError(
            "`backbone` must be a functional model, or a sequential one with an Input, whose "
            f"layers can be read. Received: {type(backbone).__name__}"
        )
    layers = {layer.name: layer for layer in backbone.layers}
    outputs = {"output": backbone.outputs[0]}
    for tap in taps:
        if tap != "output" and tap not in layers:
            raise ValueError(f"`taps` must name layers of the backbone. Received: {tap!r}")
        outputs[str(tap)] = outputs["output"] if tap == "output" else layers[tap].output
        shape = getattr(outputs[str(tap)], "shape", ())
        if len(shape) != 5:
            raise ValueError(
                f"`taps` must name layers of volumes (B, D, H, W, C). Received: {tap!r}, "
                f"shape={tuple(shape)}"
            )
    return keras.Model(backbone.inputs[0], outputs, name=f"{backbone.name}_taps")
