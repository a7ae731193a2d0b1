"""The base of the effects: one change of an image that some samples get."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import Array
from anyvox_keras.ops.only_where import only_where
from anyvox_keras.random.random_layer import Params, RandomLayer, chance
from anyvox_keras.synthesis.appearance.rescale import rescale


class Effect(RandomLayer):
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

    def change(self, x: Array, params: Params) -> Array:
        """Change every sample."""
        raise NotImplementedError

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """Plan what is drawn; `active` (B,) bool says which samples are changed."""
        return {"active": chance(self.probability), **self.draws(shape)}

    def apply(self, x: Array, params: Params) -> Array:
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


def apply_in_order(effects: Mapping[str, Effect], image: Array, params: Params) -> Array:
    """Apply effects one after the other, with the parameters of their names."""
    for name, effect in effects.items():
        image = effect.apply(image, params[name])
        image = rescale(image) if effect.rescaled else image
    return image
