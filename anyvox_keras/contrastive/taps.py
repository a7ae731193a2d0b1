"""Where a contrastive loss reads a backbone."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from anyvox_keras.networks.any_network import symbolic_volume

OUTPUT = "output"


def default_taps(backbone: keras.Model) -> list[str]:
    """Name the layers that are read where no taps are given.

    Args:
        backbone: A network whose `contrastive_taps` name them, as a `UNet`'s do; of any other
            model only the output, `"output"`, is read.
    """
    return list(getattr(backbone, "contrastive_taps", (OUTPUT,)))


def with_taps(
    backbone: keras.Model, taps: Sequence[int | str]
) -> tuple[keras.layers.Layer, dict[str, int]]:
    """Return what gives `{"output": y, tap: array, ...}`, and the channels of each array.

    Args:
        backbone: Any Keras model of volumes `(B, D, H, W, C)`.
        taps: Names of its layers, those of nested models included, or `"output"`; of a `UNet` also
            indices.

    Returns:
        A layer or model on the backbone's weights, and `{"output": channels, tap: channels, ...}`.

    Raises:
        ValueError: If a tap is none of its layers, or no volume.
    """
    if hasattr(backbone, "with_taps"):
        tapped: keras.layers.Layer = backbone.with_taps(taps)
        symbols = tapped.output
    elif getattr(backbone, "outputs", None) and {*taps} <= _own_layers(backbone) | {OUTPUT}:
        tapped = _graph(backbone, [str(tap) for tap in taps])
        symbols = tapped.output
    else:
        tapped = LayerOutputs(backbone, [str(tap) for tap in taps])
        symbols = tapped(symbolic_volume(backbone))
    for tap, symbol in symbols.items():
        if len(getattr(symbol, "shape", ())) != 5:
            shape = tuple(getattr(symbol, "shape", ()))
            raise ValueError(
                f"`taps` must name layers of volumes (B, D, H, W, C). Received: {tap!r}, "
                f"shape={shape}"
            )
    return tapped, {tap: int(symbol.shape[-1]) for tap, symbol in symbols.items()}


def _own_layers(model: keras.Model) -> set[str]:
    return {layer.name for layer in model.layers}


def _graph(backbone: keras.Model, taps: Sequence[str]) -> keras.Model:
    """Read a graph's own layers: what lies behind the last of them is not computed twice."""
    outputs = {OUTPUT: backbone.outputs[0]}
    outputs |= {tap: backbone.get_layer(tap).output for tap in taps if tap != OUTPUT}
    return keras.Model(backbone.inputs[0], outputs, name=f"{backbone.name}_taps")


class LayerOutputs(keras.layers.Layer):
    """Call a model and give what some of its layers returned on the way.

    It works for every model, a subclassed one included, whose `call` Keras cannot look into: the
    named layers are listened to while it runs. Of a layer that is called several times the last
    call counts.

    Args:
        backbone: The model.
        taps: Names of layers, at any depth, or `"output"`.

    Raises:
        ValueError: If there is no such layer, or several.

    Example:
        ```python
        import keras

        y = keras.Sequential([keras.layers.Dense(4, name="fine"), keras.layers.Dense(2)])
        layer = LayerOutputs(y, ["fine"])
        arrays = layer(np.ones((1, 8, 8, 8, 1), "float32"))  # {"output": ..., "fine": ...}
        ```
    """

    def __init__(self, backbone: keras.Model, taps: Sequence[str]) -> None:
        super().__init__(dtype=backbone.dtype_policy, name=f"{backbone.name}_taps")
        self.backbone = backbone
        self.taps = tuple(taps)
        self._read = {tap: _layer(backbone, tap) for tap in taps if tap != OUTPUT}
        self.built = True

    def call(self, volumes: Any, training: bool | None = None) -> dict[str, Any]:
        """Run the backbone on `(B, D, H, W, C)`."""
        heard: dict[str, Any] = {}
        with contextlib.ExitStack() as listening:
            for tap, layer in self._read.items():
                listening.enter_context(_heard(layer, tap, heard))
            output = self.backbone(volumes, training=training)
        if missed := [tap for tap in self._read if tap not in heard]:
            raise ValueError(f"`taps` must name layers that are called. Received: {missed[0]!r}")
        output = keras.tree.flatten(output)[0]
        return {OUTPUT: output, **{tap: heard.get(tap, output) for tap in self.taps}}


def _layer(backbone: keras.Model, tap: str) -> keras.layers.Layer:
    found = [layer for layer in _all_layers(backbone) if layer.name == tap]
    if len(found) != 1:
        number = f"{len(found)} layers of that name" if found else "no such layer"
        raise ValueError(f"`taps` must name layers of the backbone. Received: {tap!r}, {number}")
    return found[0]


def _all_layers(model: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Every layer within a model, each once."""
    seen, waiting = {id(model)}, [model]
    while waiting:
        for layer in waiting.pop()._layers:
            if id(layer) not in seen:
                seen.add(id(layer))
                waiting.append(layer)
                yield layer


@contextlib.contextmanager
def _heard(layer: keras.layers.Layer, tap: str, heard: dict[str, Any]) -> Iterator[None]:
    """Keep what a layer returns, by a `call` of the instance that hides the class's for a while."""
    original = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        heard[tap] = original(*args, **kwargs)
        return heard[tap]

    # Past the attribute tracking of Keras and torch: this is no part of the layer.
    object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        object.__delattr__(layer, "call")
