"""The base of the effects, what applies and describes them, and the rescaling between them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras import ops
from rich.console import Console
from rich.table import Table

from anyvox_keras import random
from anyvox_keras.ops.only_where import only_where
from anyvox_keras.types import Array

AXES = (1, 2, 3, 4)
#: Step, layer, probability and what is drawn, by name.
Row = tuple[str, str, float, Mapping[str, str]]


def rescale(x: Array) -> Array:
    """Map each sample's smallest value to 0 and its largest to 1; a constant one becomes 0.

    Args:
        x: `(B, D, H, W, C)` float32.

    Returns:
        The same shape, in [0, 1].

    Example:
        ```python
        import numpy as np
        from anyvox_keras.synthesis.appearance import rescale

        unit = rescale(np.random.rand(1, 8, 8, 8, 1).astype("float32"))
        ```
    """
    x = ops.convert_to_tensor(x)
    low, extent = extremes(x)
    return (x - low) / ops.where(extent > 0, extent, 1.0)


def extremes(x: Any) -> tuple[Array, Array]:
    """Smallest value and range of each sample, `(B, 1, 1, 1, 1)`."""
    low = ops.min(x, axis=AXES, keepdims=True)
    return low, ops.max(x, axis=AXES, keepdims=True) - low


class Effect(random.RandomLayer):
    """A random change of an image `(B, D, H, W, C)`, made with a probability.

    Subclasses plan their draws in `draws(shape)` and apply them in `change(x, params)`, which
    keeps the shape; channels share the draws.

    Args:
        probability: Probability that a sample is changed.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If `probability` is not in [0, 1].

    Attributes:
        rescaled: Whether `Appearance` rescales the image to [0, 1] after this effect.
    """

    rescaled = False

    def __init__(self, probability: float = 1.0, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        if not 0 <= probability <= 1:
            message = f"`probability` must be in [0, 1]. Received: probability={probability}"
            raise ValueError(message)
        self.probability = float(probability)

    def draws(self, shape: Sequence[int]) -> dict[str, random.Draw]:
        """Plan what `change` needs."""
        raise NotImplementedError

    def change(self, x: Array, params: random.Params) -> Array:
        """Change every sample."""
        raise NotImplementedError

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """Plan what is drawn; `active` (B,) bool says which samples are changed."""
        return {"active": random.chance(self.probability), **self.draws(shape)}

    def apply(self, x: Array, params: random.Params) -> Array:
        """Change the active samples; draws nothing."""
        # Also at probability 1: the branch keeps XLA from repeating this step in every later one.
        x = ops.convert_to_tensor(x, "float32")
        return only_where(params["active"], lambda image: self.change(image, params), x)

    def ranges(self) -> dict[str, str]:
        """Describe the ranges of the draws, by name."""
        values = {name: getattr(self, name) for name in self.settings()}
        return {name: str(value) for name, value in values.items()}

    def settings(self) -> tuple[str, ...]:
        """Return the constructor's argument names besides the probability and the seed."""
        return ()

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = {**super().get_config(), "probability": self.probability}
        for name in self.settings():
            value = getattr(self, name)
            config[name] = value.pair if isinstance(value, random.Range) else value
        return config


def spread(x: Array) -> Array:
    """Reshape `(B,)` to `(B, 1, 1, 1, 1)`."""
    return ops.reshape(x, (-1, 1, 1, 1, 1))


def apply_in_order(effects: Mapping[str, Effect], image: Array, params: random.Params) -> Array:
    """Apply effects one after the other, with the parameters of their names."""
    for name, effect in effects.items():
        image = effect.apply(image, params[name])
        image = rescale(image) if effect.rescaled else image
    return image


def describe(title: str, rows: Iterable[Row]) -> str:
    """Describe the steps of a pipeline as a table.

    Args:
        title: Heading.
        rows: The steps in order.

    Returns:
        The table as plain text.
    """
    table = Table("step", "layer", "probability", "drawn", title=title)
    for step, layer, probability, drawn in rows:
        named = ", ".join(f"{name} {value}" for name, value in drawn.items())
        table.add_row(step, layer, f"{probability:.3g}", named)
    console = Console(width=110, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def rows_of(steps: Mapping[str, Any]) -> list[Row]:
    """Make the rows of layers that tell their `ranges()`."""
    return [
        (name, type(layer).__name__, getattr(layer, "probability", 1.0), layer.ranges())
        for name, layer in steps.items()
    ]
