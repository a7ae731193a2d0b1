"""A trained VoxelMorph as the search of `register`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from anyvox_keras.backend import no_gradient, to_numpy
from anyvox_keras.errors import UserError, require_one_of
from anyvox_keras.export import Float32Layer
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.geometry import Grid, min_max
from anyvox_keras.geometry.resample import resample_deformation
from anyvox_keras.ops import compose, warp
from anyvox_keras.progress import counted, tell
from anyvox_keras.registration import losses
from anyvox_keras.registration.deformable.convex_search import ConvexSearch
from anyvox_keras.registration.deformable.settings import DeformSettings
from anyvox_keras.registration.descriptors.pair_features import FeatureSettings
from anyvox_keras.registration.layers import SpatialTransformer
from anyvox_keras.registration.pair_inputs import PairInputs
from anyvox_keras.registration.register import register
from anyvox_keras.registration.registration import Registration
from anyvox_keras.types import Array, ImageLike, PairOptions, Refinement
from anyvox_keras.voxelmorph.graph import warp_both
from anyvox_keras.voxelmorph.voxelmorph import VoxelMorph

CARRIED = "carried"
#: losses that compare intensities, by the names of the settings
IMAGE_LOSSES = {
    "mind": losses.MINDLoss,
    "mi": losses.MutualInformationLoss,
    "ncc": losses.LocalNCCLoss,
}


def refine(
    model: VoxelMorph,
    fixed: Any,
    moving: Any,
    loss: keras.losses.Loss,
    smoothness: float = 0.5,
    iterations: int = 50,
    learning_rate: float = 0.1,
    compared: tuple[Any, Any] | None = None,
    mask: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Descend from the network's velocity on the images at hand (Balakrishnan et al., section V).

    Adam minimises `loss(fixed, moved) + smoothness * GradientPenalty(velocity)` over the velocity
    alone; the network stays as it is.

    Args:
        model: A `VoxelMorph`, trained or not.
        fixed: `(B, D, H, W, C)`.
        moving: The same grid.
        loss: Of the fixed and the moved images, such as `FeatureLoss`.
        smoothness: Weight of the penalty.
        iterations: Number of steps.
        learning_rate: Of Adam, in voxels of the velocity's grid.
        compared: What the loss compares in the images' place, `(B, D, H, W, F)` of the fixed and
            of the moving one, which is warped: features computed once, for
            `FeatureLoss(..., recompute=False)`.
        mask: `(B, D, H, W)`, where a loss of voxels counts; None for everywhere.

    Returns:
        Displacement `(B, D, H, W, 3)` in voxels, and moved images; float32.

    Example:
        ```python
        from anyvox_keras.registration import LocalNCCLoss

        fixed, moving = np.random.default_rng(0).random((2, 1, 16, 16, 16, 1)).astype("float32")
        model = VoxelMorph(encoder=(4, 8), decoder=(8, 4, 4), flow_stride=2)
        displacement, moved = refine(model, fixed, moving, LocalNCCLoss(5), iterations=3)
        ```
    """
    pair = {"fixed": np.asarray(fixed, "float32"), "moving": np.asarray(moving, "float32")}
    start = model.register_both(pair["fixed"], pair["moving"])["velocity"]
    target, of = pair["fixed"], "moved"
    if compared is not None:
        target, of = np.asarray(compared[0], "float32"), CARRIED
        pair[CARRIED] = np.asarray(compared[1], "float32")
    instance = _instance(model.get_config(), start, pair)
    instance.compile(
        keras.optimizers.Adam(learning_rate, epsilon=1e-8),
        loss={of: loss, "velocity": losses.GradientPenalty()},
        loss_weights={of: 1.0, "velocity": smoothness},
    )
    targets = {of: target, "velocity": np.zeros_like(start)}
    weights = None
    if mask is not None and getattr(loss, "of_voxels", True):
        weights = {of: np.asarray(mask, "float32"), "velocity": np.ones(len(start), "float32")}
    for _ in counted(range(iterations), "refinement", iterations):
        instance.train_on_batch(pair, targets, weights)
    outputs = instance.predict_on_batch(pair)
    return to_numpy(outputs["displacement"]), to_numpy(outputs["moved"])


def _instance(
    config: dict[str, Any], start: np.ndarray, pair: dict[str, np.ndarray]
) -> keras.Model:
    """A model whose only weight is the velocity of these images."""
    inputs = {name: keras.Input(batch_shape=x.shape, name=name) for name, x in pair.items()}
    velocity = _Velocity(start, name="free_velocity")(inputs["fixed"])
    outputs = warp_both(config, velocity, inputs["fixed"], inputs["moving"])
    # Not the way back, which nothing asks for.
    outputs = {name: outputs[name] for name in ("velocity", "displacement", "moved")}
    if CARRIED in inputs:
        carry = SpatialTransformer(outside="edge")
        outputs[CARRIED] = carry([inputs[CARRIED], outputs["displacement"]])
    return keras.Model(inputs, outputs)


class _Velocity(Float32Layer):
    """Returns its weight, whatever the images."""

    def __init__(self, start: np.ndarray, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start

    def build(self, _: Sequence[int | None]) -> None:
        self.velocity = self.add_weight(self.start.shape, initializer="zeros", name="velocity")
        self.velocity.assign(self.start)

    def call(self, inputs: Array) -> Array:
        return ops.convert_to_tensor(self.velocity)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int, ...]:
        return self.start.shape


@dataclass(frozen=True)
class NetworkSearch:
    """What a trained network says of two scans, whatever grids they lie on, refined or not.

    The network sees both on a lattice over the fixed image, axes nearest to R, A, S, intensities
    min-max scaled to [0, 1]; beyond a mask the smallest value stands. Its displacement is brought
    to the fixed grid.

    Args:
        model: A `VoxelMorph` of one channel per image, such as `load_network` returns.
        iterations: Steps of refinement; 0 takes what the network says.
        loss: By what: "descent", from what the network says on as `register` descends from what it
            searched; or instance optimisation of the velocity, see `refine`, by "mind", "feature"
            (computed once per image and warped), "mi" or "ncc".
        extractor: For "feature"; `anyvox-base` by default.
        smoothness: Weight of the penalty; None takes 0.5 in `refine`, in the descent its own.
        spacing: Millimetres of the lattice, such as the network was trained on; None keeps the
            fixed image's.
        voxels: Most voxels of the lattice where no spacing is given: those of a larger image are
            merged into cubes. None sets no bound.
        passes: How often the network is asked, from the second time on with the moving image as
            the displacement so far has it.
        both_ways: See `VoxelMorph.register`.

    Raises:
        UserError: A network of several channels, an unknown loss, no pass, or both ways asked of a
            network that integrates nothing.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np
        from anyvox_keras.voxelmorph import NetworkSearch

        fixed, moving = np.random.rand(2, 16, 16, 16).astype("float32")
        model = avx.VoxelMorph(encoder=(4, 8), decoder=(8, 4, 4), flow_stride=2)
        result = avx.register(fixed, moving, method=NetworkSearch(model))
        ```
    """

    model: VoxelMorph
    iterations: int = 0
    loss: Refinement = "descent"
    extractor: FeatureExtractor | None = None
    smoothness: float | None = None
    spacing: float | None = None
    voxels: int | None = None
    passes: int = 1
    both_ways: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot register."""
        if list(self.model.get_config()["channels"]) != [1, 1]:
            raise UserError("expected a network of one channel per image, received one of features")
        require_one_of("loss", self.loss, Refinement)
        if self.passes < 1:
            raise UserError(f"passes: expected at least 1, received {self.passes}")
        if self.both_ways and not self.model.steps:
            raise UserError("both_ways: expected a network that integrates a velocity")

    def displacement(
        self, pair: PairInputs, affine: np.ndarray, features: FeatureSettings, memory: float
    ) -> np.ndarray:
        """Ask the network, and refine; see `registration.Search`."""
        _refuse(pair)
        own = pair.images[0].grid
        grid = self._lattice(own)
        placed = pair.placed(grid, affine)
        images = [
            _scaled(array, inside, clip)
            for (array, inside, *_), clip in zip(placed, pair.clips, strict=True)
        ]
        tell("network")
        descends = self.loss == "descent"
        if self.iterations and not descends:
            field = self._refined(images, placed[0].inside)
        else:
            field = self._asked(*images)
        found = resample_deformation(field[0], grid, own)
        if self.iterations and descends:
            return self._descent().descent(found, pair, affine, features, memory)
        return found

    def _asked(self, fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
        """What the network says, pass after pass; every one reads the moving image itself."""
        field, moved = self.model.register(fixed, moving, self.both_ways)
        for number in range(1, self.passes):
            with no_gradient():
                if number > 1:
                    moved = to_numpy(warp(moving, field, outside="edge"))
                step, _ = self.model.register(fixed, moved, self.both_ways)
                field = to_numpy(compose(field, step))
        return field

    def _descent(self) -> ConvexSearch:
        changes: dict[str, Any] = {"iterations": self.iterations}
        if self.smoothness is not None:
            changes["smoothness"] = self.smoothness
        settings = DeformSettings()
        return ConvexSearch(replace(settings, adam=replace(settings.adam, **changes)))

    def _lattice(self, own: Grid) -> Grid:
        grid = own.to_nearly_cubic().to_ras(self.spacing or None)
        if self.spacing or self.voxels is None or np.prod(grid.shape) <= self.voxels:
            return grid
        return own.to_cubes(self.voxels).to_ras()

    def _refined(self, images: list[np.ndarray], inside: np.ndarray | None) -> np.ndarray:
        options: dict[str, Any] = {"iterations": self.iterations}
        if self.smoothness is not None:
            options["smoothness"] = self.smoothness
        fixed, moving = images
        options["mask"] = None if inside is None else inside[None]
        if self.loss != "feature":
            return refine(self.model, fixed, moving, IMAGE_LOSSES[self.loss](), **options)[0]
        extractor = self.extractor or FeatureExtractor.from_preset()
        options["compared"] = tuple(extractor(image) for image in images)
        loss = losses.FeatureLoss(extractor, recompute=False)
        return refine(self.model, fixed, moving, loss, **options)[0]


def _refuse(pair: PairInputs) -> None:
    """A network sees one channel of each image, and no labels or landmarks."""
    if pair.channels[0]:
        count = 1 + len(pair.channels[0])
        raise UserError(f"expected one channel of each image for a network, received {count}")
    if pair.guides:
        raise UserError(f"{pair.guides[0]}: expected none beside a network, which does not see it")


def _scaled(
    array: np.ndarray, inside: np.ndarray | None, clip: Sequence[float] | None
) -> np.ndarray:
    """`(1, D, H, W, 1)` in [0, 1]."""
    if clip is not None:
        array = np.clip(array, clip[0], clip[1])
    if inside is not None:
        array = np.where(inside, array, array[inside].min())
    return min_max(array)[None, ..., None]


def register_scans(
    model: VoxelMorph,
    fixed: ImageLike,
    moving: ImageLike,
    *,
    iterations: int = 0,
    loss: Refinement = "descent",
    extractor: FeatureExtractor | None = None,
    smoothness: float | None = None,
    spacing: float | None = None,
    voxels: int | None = None,
    passes: int = 1,
    both_ways: bool = False,
    **options: Unpack[PairOptions],
) -> Registration:
    """Bring `moving` onto `fixed` by a trained network: `register` with a `NetworkSearch`.

    The affine stage, if `options` ask for one, compares MIND.

    Args:
        model: See `NetworkSearch`.
        fixed: Path, nibabel image, `Volume`, or array `(D, H, W)` (voxels of 1 mm).
        moving: The same; it need not share the grid.
        iterations: Steps of refinement.
        loss: By what they refine.
        extractor: Features of the loss "feature".
        smoothness: Weight of the penalty.
        spacing: Millimetres of the lattice that the network sees.
        voxels: Most voxels of it where no spacing is given.
        passes: How often the network is asked.
        both_ways: Whether it is asked for both directions.
        **options: See `registration.PairOptions`.

    Returns:
        A `Registration`.

    Raises:
        UserError: An input that cannot be used, or a network of several channels.

    Example:
        ```python
        import anyvox_keras as avx
        import numpy as np
        from anyvox_keras.voxelmorph import register_scans

        fixed, moving = np.random.rand(2, 16, 16, 16).astype("float32")
        model = avx.VoxelMorph(encoder=(4, 8), decoder=(8, 4, 4), flow_stride=2)
        result = register_scans(model, fixed, moving)
        ```
    """
    search: Any = NetworkSearch(
        model, iterations, loss, extractor, smoothness, spacing, voxels, passes, both_ways
    )
    return register(fixed, moving, "mind", method=search, **options)
