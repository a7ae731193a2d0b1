"""The whole appearance model, and the two views it paints of a label map."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import map_samples
from anyvox_keras.export import export
from anyvox_keras.synthesis.appearance import contrast, effect, intensity, k_space, resolution
from anyvox_keras.synthesis.appearance.noise import CutOut, GaussianNoise, RicianNoise
from anyvox_keras.types import Array

Settings = Mapping[str, Any] | None

#: The effects after the mixture, in their order, with their settings; None is off.
EFFECTS: dict[str, tuple[type[effect.Effect], Settings]] = {
    "texture": (intensity.Texture, {}),
    "bias": (intensity.BiasField, {"probability": 0.98}),
    "spike": (k_space.KSpaceSpike, {"probability": 0.2}),
    "ghosting": (k_space.Ghosting, None),
    "contrast": (contrast.GammaContrast, {"probability": 0.5}),
    "inversion": (contrast.Inversion, None),
    "blur": (resolution.GaussianBlur, {"probability": 0.5}),
    "gibbs": (k_space.GibbsRinging, {"probability": 0.5}),
    "sharpen": (resolution.Sharpen, {"probability": 0.25}),
    "resolution": (resolution.LowResolution, {"probability": 0.333}),
    "slices": (resolution.ThickSlices, None),
    "rician": (RicianNoise, None),
    "noise": (GaussianNoise, None),
    "cut_out": (CutOut, None),
}
VIEWS = ("view1", "view2")


@export
class Appearance(random.RandomLayer):
    """Draw an image of a label map: the appearance model of arXiv 2411.02372, appendix B.

    In this order: `mixture` (a Gaussian per label, rescaled), `texture` (multiplicative smooth
    noise), rescaled to [0, 1]; `bias` 0.98, `spike` 0.2, `contrast` 0.5, `blur` 0.5, `gibbs` 0.5,
    `sharpen` 0.25, `resolution` 0.333 with these probabilities; values below 0 are clipped and the
    image is rescaled to [0, 1]. Off unless asked for: `ghosting` and `inversion` (after `spike` and
    `contrast`); then, at the end, `slices` (thick along an axis), `rician`, `noise`, `cut_out`.

    Args:
        mixture: Settings of `GaussianMixture`.
        seed: Seed of the draws that are made without keys.
        **effects: Settings of an effect by its name above, e.g. `bias={"probability": 0.5}`; what
            they do not name stays as it is. None leaves the effect out, `{}` puts an optional one
            in. What is left are arguments of `keras.Layer`.

    Raises:
        TypeError: If an effect is unknown.
        ValueError: If a setting is out of range.

    Example:
        ```python
        import numpy as np
        import anyvox_keras as avx

        appearance = avx.Appearance(blur={"sigma": (0, 1)}, spike=None, noise={"std": (0, 0.1)})
        print(appearance.describe())
        view = appearance(np.random.randint(0, 5, (1, 32, 32, 32)))  # (1, 32, 32, 32, 1)
        ```
    """

    def __init__(self, mixture: Settings = None, seed: int = 0, **effects: Any) -> None:
        chosen = {name: effects.pop(name) for name in list(effects) if name in EFFECTS}
        super().__init__(seed=seed, **effects)
        self.mixture = intensity.GaussianMixture(**dict(mixture or {}))
        self._settings = {"mixture": mixture, **chosen}
        self.effects: dict[str, effect.Effect] = {}
        for name, (kind, default) in EFFECTS.items():
            settings = chosen.get(name, default)
            if settings is not None:
                self.effects[name] = kind(**{**(default or {}), **settings})

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """Plan what every step draws, by name."""
        return {name: layer.plan(shape) for name, layer in self.steps().items()}

    def finish(self, drawn: random.Params, shape: Sequence[int]) -> random.Params:
        """Turn drawn values into the parameters of every step."""
        steps = self.steps().items()
        return {name: layer.finish(drawn[name], shape) for name, layer in steps}

    def apply(self, x: Array, params: random.Params) -> Array:
        """Paint label maps `(B, D, H, W)`; returns `(B, D, H, W, 1)` in [0, 1]."""
        image = self.mixture.apply(x, params["mixture"])
        image = effect.apply_in_order(self.effects, image, params)
        return effect.rescale(ops.maximum(image, 0.0))

    def steps(self) -> dict[str, Any]:
        """Every step that draws, in order, by its name."""
        return {"mixture": self.mixture, **self.effects}

    def describe(self) -> str:
        """Describe the steps with their probabilities and ranges as a table."""
        return effect.describe("Appearance", effect.rows_of(self.steps()))

    def compute_output_spec(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """One channel of float32."""
        return keras.KerasTensor((*x.shape, 1), "float32")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), **self._settings}


@export
class PairedViews(random.RandomLayer):
    """Draw two independent images of the same label map.

    Args:
        appearance: Layer that draws one; `Appearance()` by default.
        seed: Seed of the draws that are made without keys.

    Example:
        ```python
        import numpy as np
        import anyvox_keras as avx
        from anyvox_keras.random import keys_for

        views = avx.PairedViews(avx.Appearance(spike=None))
        labels = np.random.randint(0, 5, (1, 32, 32, 32))
        view1, view2 = views(labels, keys=keys_for(0, [0]))  # (1, 32, 32, 32, 1) each
        ```
    """

    def __init__(self, appearance: Any = None, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        self.appearance = Appearance() if appearance is None else appearance

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """Tell what `view1` and `view2` draw."""
        return {view: self.appearance.plan(shape) for view in VIEWS}

    def finish(self, drawn: random.Params, shape: Sequence[int]) -> random.Params:
        """Turn drawn values into the parameters of the two views."""
        return {view: self.appearance.finish(drawn[view], shape) for view in VIEWS}

    def apply(self, x: Array, params: random.Params) -> tuple[Array, Array]:
        """Paint label maps `(B, D, H, W)` twice."""
        first, second = (self.appearance.apply(x, params[view]) for view in VIEWS)
        return first, second

    def draw(self, x: Array, keys: Array) -> tuple[Array, Array]:
        """Paint one view after the other: only one view's parameters take memory.

        The views are `apply(x, sample(keys, shape))`; their program is traced once.
        """
        x, shape = ops.convert_to_tensor(x), tuple(x.shape[1:4])

        def paint(view_keys: Array) -> Array:
            return self.appearance.apply(x, self.appearance.sample(view_keys, shape))

        view_keys = ops.stack([random.fold_in(keys, view) for view in VIEWS])
        views = map_samples(paint, view_keys, like=keras.KerasTensor((*x.shape, 1), "float32"))
        return views[0], views[1]

    def compute_output_spec(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Two images of one channel."""
        return tuple(keras.KerasTensor((*x.shape, 1), "float32") for _ in VIEWS)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        appearance = keras.saving.serialize_keras_object(self.appearance)
        return {**super().get_config(), "appearance": appearance}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PairedViews":
        """Rebuild with its appearance."""
        appearance = keras.saving.deserialize_keras_object(config["appearance"])
        return cls(**{**config, "appearance": appearance})
