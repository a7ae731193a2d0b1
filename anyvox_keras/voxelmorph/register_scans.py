"""Register two scans by a trained VoxelMorph."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.features import FeatureExtractor
from anyvox_keras.geometry import min_max
from anyvox_keras.registration.affine.align import align_pair
from anyvox_keras.registration.descriptors.pair_features import FeatureSettings
from anyvox_keras.registration.losses import (
    FeatureLoss,
    LocalNCCLoss,
    MINDLoss,
    MutualInformationLoss,
)
from anyvox_keras.registration.pair_inputs import PairInputs
from anyvox_keras.registration.registration import Registration
from anyvox_keras.registration.resample_deformation import resample_deformation
from anyvox_keras.voxelmorph.refine import refine
from anyvox_keras.voxelmorph.voxelmorph import VoxelMorph

#: losses that compare intensities, by the names of the settings
IMAGE_LOSSES = {"mind": MINDLoss, "mi": MutualInformationLoss, "ncc": LocalNCCLoss}
#: what `refine` may minimise
LOSSES = ("feature", *IMAGE_LOSSES)


def register_scans(
    model: VoxelMorph,
    fixed: Any,
    moving: Any,
    iterations: int = 0,
    loss: str = "mind",
    extractor: FeatureExtractor | None = None,
    smoothness: float = 0.5,
    spacing: float = 0.0,
    **inputs: Any,
) -> Registration:
    """Bring `moving` onto `fixed` by a trained network, whatever grids they lie on.

    The network sees both on a lattice over the fixed image, axes nearest to R, A, S, intensities
    min-max scaled to [0, 1]; beyond a mask the smallest value stands. Its displacement is brought
    to the fixed grid, and the moving image is interpolated once.

    Args:
        model: A `VoxelMorph` of one channel an image, such as `load_network` returns.
        fixed: Path, nibabel image, `Volume`, or array `(D, H, W)` (voxels of 1 mm).
        moving: The same; it need not share the grid.
        iterations: Steps of instance optimisation, see `refine`; 0 takes what the network says.
        loss: What they minimise: "mind", "feature" (computed once an image and warped), "mi" or
            "ncc".
        extractor: For "feature"; `anyvox-base` by default.
        smoothness: Weight of the penalty in `refine`.
        spacing: Mm of the lattice, such as the network was trained on; 0 keeps the fixed image's.
        **inputs: As of `register`: `fixed_mask`, `moving_mask`, `fixed_clip`, `moving_clip`,
            `fixed_seg`, `moving_seg`, `affine`, `initial`, `fixed_points`, `moving_points`.

    Returns:
        A `Registration`.

    Raises:
        UserError: An input that cannot be used, or a network of several channels.

    Example:
        ```python
        from anyvox_keras.voxelmorph import register_scans


        fixed, moving = np.random.rand(2, 16, 16, 16).astype("float32")
        model = VoxelMorph(encoder=(4, 8), decoder=(8, 4, 4), flow_stride=2)
        result = register_scans(model, fixed, moving)
        ```
    """
    if list(model.get_config()["channels"]) != [1, 1]:
        raise UserError("expected a network of one channel an image, received one of features")
    if loss not in LOSSES:
        raise UserError(f"loss: expected one of {', '.join(LOSSES)}, received {loss}")
    pair = PairInputs.read(fixed, moving, **inputs)
    start = time.perf_counter()
    affine = align_pair(pair, FeatureSettings())
    own = pair.images[0].grid
    grid = own.to_nearly_cubic().to_ras(spacing or None)
    placed = pair.placed(grid, affine)
    images = [
        _scaled(array, inside, clip)
        for (array, inside), clip in zip(placed, pair.clips, strict=True)
    ]
    if iterations:
        field = _refined(model, images, placed[0][1], loss, extractor, smoothness, iterations)
    else:
        field = model.register(*images)[0]
    found = resample_deformation(field[0], grid, own)
    seconds = time.perf_counter() - start
    return Registration(*pair.images, found, affine, *pair.segmentations, seconds, pair.landmarks)


def _scaled(
    array: np.ndarray, inside: np.ndarray | None, clip: Sequence[float] | None
) -> np.ndarray:
    """`(1, D, H, W, 1)` in [0, 1]."""
    if clip is not None:
        array = np.clip(array, clip[0], clip[1])
    if inside is not None:
        array = np.where(inside, array, array[inside].min())
    return min_max(array)[None, ..., None]


def _refined(
    model: VoxelMorph,
    images: list[np.ndarray],
    inside: np.ndarray | None,
    loss: str,
    extractor: FeatureExtractor | None,
    smoothness: float,
    iterations: int,
) -> np.ndarray:
    options: dict[str, Any] = {"smoothness": smoothness, "iterations": iterations}
    options["mask"] = None if inside is None else inside[None]
    fixed, moving = images
    if loss != "feature":
        return refine(model, fixed, moving, IMAGE_LOSSES[loss](), **options)[0]
    extractor = extractor or FeatureExtractor.from_preset()
    options["compared"] = tuple(extractor(image) for image in images)
    return refine(model, fixed, moving, FeatureLoss(extractor, recompute=False), **options)[0]
