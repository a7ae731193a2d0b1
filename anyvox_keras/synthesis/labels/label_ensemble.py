"""Label maps from templates."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from anyvox_keras import random
from anyvox_keras.export import export
from anyvox_keras.ops import median_filter
from anyvox_keras.ops.only_where import only_where
from anyvox_keras.random.smooth_noise import affine_matrix, affine_plan
from anyvox_keras.synthesis.appearance.effect import Row, describe
from anyvox_keras.synthesis.labels.foreground_mask import REACH, ForegroundMask, envelope
from anyvox_keras.synthesis.labels.overlay import Shapes, overlay, periodic_map
from anyvox_keras.types import Array

#: Largest side: the fixed-point coordinates end there.
LARGEST = 1023


@export
class LabelEnsemble(random.RandomLayer):
    """Overlay randomly transformed templates into a label map (arXiv 2411.02372, section 3.1).

    Per sample: the number n of templates, uniform in [low, high); per template a matrix
    scale x rotation x shear (scale U per axis with random sign, rotation Rx Ry Rz, upper-triangular
    shear) and a translation. Template k is sampled at `floor(M o + t + 1/2)` for output voxel `o`,
    about the array's origin, periodic with the padded template's own shape (at least the side), and
    painted with label k over what lies there; k = 0 is background. Members of a nested group (an
    organ, its wall, its core) share the matrix and translation of the first of them. Then a 3x3x3
    median. With probability `foreground` labels inside a `ForegroundMask` are raised by one and
    those outside become 0; with probability `envelope` of those cases a rim of radius 2, 3 or 4
    around the mask is painted with one new label.

    Args:
        side: Side of the label map, at least 16. The mask's lengths scale with side / 128.
        count: `(low, high)`: the number of templates is an integer in [low, high).
        scale: Range of the scale per axis, above 0.
        rotation: Largest angle in degrees.
        shear: Largest shear.
        translation: Largest translation in voxels.
        foreground: Probability of a foreground mask.
        envelope: Probability of a rim around it.
        seed: Seed of the draws that are made without keys.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        ```python
        import anyvox_keras as avx
        from anyvox_keras.random import keys_for

        bank = avx.TemplateBank.geometric(count=50, side=32)
        ensemble = avx.LabelEnsemble(side=32)
        chosen = bank.pack([range(ensemble.templates)])
        labels = ensemble(chosen, keys=keys_for(0, [0]))  # (1, 32, 32, 32) int32
        ```
    """

    def __init__(
        self,
        side: int = 128,
        count: Sequence[int] = (20, 40),
        scale: random.RangeLike = (0.5, 1.5),
        rotation: float = 180.0,
        shear: float = 0.5,
        translation: float = 5.0,
        foreground: float = 2 / 3,
        envelope: float = 1 / 2,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, **kwargs)
        _check(side, count, foreground, envelope)
        self.side, self.count = int(side), (int(count[0]), int(count[1]))
        self.scale = random.Range(scale, "scale", minimum=0)
        self.rotation, self.shear, self.translation = rotation, shear, translation
        self.foreground, self.envelope = float(foreground), float(envelope)
        self.mask = ForegroundMask()

    @property
    def templates(self) -> int:
        """Number of templates that each sample must bring: the largest number drawn."""
        return self.count[1] - 1

    @property
    def labels(self) -> int:
        """One more than the largest label."""
        return self.templates + 2

    def plan(self, shape: Sequence[int]) -> random.Plan:
        """Plan what is drawn."""
        far, templates = self.translation, self.templates
        return {
            "count": random.integer(*self.count),
            "affine": affine_plan(templates, self.scale, self.rotation, self.shear),
            "translation": random.Draw("uniform", (templates, 3), -far, far),
            "masked": random.chance(self.foreground),
            "enveloped": random.chance(self.envelope),
            "rim": random.integer(2, REACH + 1),
            "mask": self.mask.plan(shape),
        }

    def finish(self, drawn: random.Params, shape: Sequence[int]) -> random.Params:
        """Compose the matrices, `matrix` (B, K, 3, 3)."""
        params = {name: value for name, value in drawn.items() if name != "affine"}
        mask = self.mask.finish(drawn["mask"], shape)
        return {**params, "matrix": affine_matrix(drawn["affine"]), "mask": mask}

    def sample(self, keys: Array, shape: Sequence[int] | None = None) -> random.Params:
        """Draw `count`, `matrix`, `translation`, `masked`, `enveloped`, `rim` and `mask`."""
        return super().sample(keys, shape or (self.side,) * 3)

    def apply(self, x: dict[str, Array], params: random.Params) -> Array:
        """Paint the templates of `TemplateBank.pack` with drawn parameters.

        Args:
            x: `words` (W,) or (B, W), `offsets` (B, K), `sizes` (B, K, 3), int32; optionally
                `leaders` (B, K): the template whose place each takes, itself or one before it.
            params: What `sample` returned.

        Returns:
            `(B, side, side, side)` int32.
        """
        shapes = _flattened(x, self.templates)
        # Eight-bit labels halve the work of the median.
        dtype = "int8" if self.labels < 127 else "int32"
        affine = params["matrix"], params["translation"]
        if "leaders" in x:
            affine = _lent(affine[0], x["leaders"]), _lent(affine[1], x["leaders"])
        maps = periodic_map(*affine, shapes.sizes, self.side)
        labels = overlay(shapes, maps, params["count"], self.side, dtype)
        labels = median_filter(labels)
        labels = only_where(params["masked"], lambda inner: self._masked(inner, params), labels)
        return ops.cast(labels, "int32")

    def _masked(self, labels: Array, params: random.Params) -> Array:
        mask = self.mask.apply((self.side,) * 3, params["mask"])
        labels = ops.where(mask, labels + 1, ops.zeros_like(labels))

        def rimmed(inner: Array) -> Array:
            new = ops.max(inner, axis=(1, 2, 3), keepdims=True) + 1
            return ops.where(envelope(mask, params["rim"]), new, inner)

        return only_where(params["enveloped"], rimmed, labels)

    def draw(self, x: dict[str, Array], keys: Array) -> Array:
        """Draw and paint."""
        return self.apply(x, self.sample(keys))

    def batch_size(self, x: dict[str, Array]) -> Array:
        """Return the number of label maps."""
        return ops.shape(x["offsets"])[0]

    def describe(self) -> str:
        """Describe the steps with their probabilities and ranges as a table."""
        low, high = self.count
        affine = {
            name: f"+-{getattr(self, name):g}" for name in ("rotation", "shear", "translation")
        }
        enveloped = self.foreground * self.envelope
        rows: list[Row] = [
            ("templates", "overlay", 1.0, {"count": f"{low} to {high - 1}"}),
            ("affine", "periodic_map", 1.0, {"scale": f"+-{self.scale}", **affine}),
            ("smoothing", "median_filter", 1.0, {"size": "3"}),
            ("foreground", "ForegroundMask", self.foreground, self.mask.ranges(self.side)),
            ("envelope", "envelope", enveloped, {"radius": f"2 to {REACH}"}),
        ]
        return describe("Label maps", rows)

    def compute_output_spec(self, x: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Integer label maps."""
        return keras.KerasTensor((x["offsets"].shape[0], *(self.side,) * 3), "int32")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        names = ("side", "count", "rotation", "shear", "translation", "foreground", "envelope")
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own, "scale": self.scale.pair}


def _flattened(x: dict[str, Array], templates: int) -> Shapes:
    words, offsets, sizes = (
        ops.convert_to_tensor(x[name], "int32") for name in ("words", "offsets", "sizes")
    )
    if offsets.shape[1] != templates:
        message = f"`offsets` must be (B, {templates}), the largest number drawn"
        raise ValueError(f"{message}. Received: shape={tuple(offsets.shape)}")
    if len(words.shape) == 2:
        first = ops.arange(ops.shape(words)[0], dtype="int32") * words.shape[1]
        words, offsets = ops.reshape(words, (-1,)), offsets + first[:, None]
    return Shapes(words, offsets, sizes)


def _lent(drawn: Array, leaders: Array) -> Array:
    """Give every template what was drawn for the first of its group: `(B, K, ...)`."""
    places = ops.reshape(leaders, (-1, leaders.shape[1], *[1] * (len(drawn.shape) - 2)))
    return ops.take_along_axis(drawn, places, axis=1)


def _check(side: int, count: Sequence[int], foreground: float, envelope: float) -> None:
    if not 16 <= side <= LARGEST:
        raise ValueError(f"`side` must be in [16, {LARGEST}]. Received: side={side}")
    if len(count) != 2 or not 1 <= count[0] < count[1]:
        raise ValueError(f"`count` must be (low, high), 1 <= low < high. Received: count={count}")
    for name, p in (("foreground", foreground), ("envelope", envelope)):
        if not 0 <= p <= 1:
            raise ValueError(f"`{name}` must be in [0, 1]. Received: {name}={p}")
