"""The published training recipes."""

from dataclasses import dataclass
from typing import Any

import keras

from anyvox_keras.errors import one_of
from anyvox_keras.synthesis.augmentation import TrainTimeAugmentation
from anyvox_keras.training.schedules import stepped_decay
from anyvox_keras.types import RecipeName


@dataclass(frozen=True)
class Recipe:
    """Numbers of one published recipe; `optimizer` and `augmentation` make fresh parts of it.

    Attributes:
        beta_1: Decay of Adam's first moment.
        weight_decay: Decoupled weight decay; None for plain Adam.
        augments: Whether pairs go through `TrainTimeAugmentation` on their way to the network.
        learning_rate: Rate at the first step.
    """

    beta_1: float
    weight_decay: float | None
    augments: bool
    learning_rate: float = 2e-4

    def optimizer(self, steps: int | None = None, **kwargs: Any) -> keras.optimizers.Optimizer:
        """Make the optimizer; with `steps`, the rate falls by `stepped_decay`.

        Args:
            steps: Length of the run; None keeps the rate constant.
            **kwargs: Of the Keras optimizer: `clipnorm`, `gradient_accumulation_steps`, `use_ema`.
        """
        rate = self.learning_rate if steps is None else stepped_decay(self.learning_rate, steps)
        rate = kwargs.pop("learning_rate", rate)
        common = dict(learning_rate=rate, beta_1=self.beta_1, beta_2=0.999, epsilon=1e-8, **kwargs)
        if self.weight_decay is None:
            return keras.optimizers.Adam(**common)
        return keras.optimizers.AdamW(weight_decay=self.weight_decay, **common)

    def augmentation(self) -> keras.layers.Layer | None:
        """Make the augmentation of pairs; None for a recipe without."""
        return TrainTimeAugmentation(name="augmentation") if self.augments else None


RECIPES = {
    "released": Recipe(beta_1=0.9, weight_decay=1e-5, augments=True),
    "paper": Recipe(beta_1=0.5, weight_decay=None, augments=False),
}


def recipe(name: RecipeName) -> Recipe:
    """Look a recipe up: `"released"` (the published script) or `"paper"`."""
    one_of("recipe", name, RecipeName)
    return RECIPES[name]
