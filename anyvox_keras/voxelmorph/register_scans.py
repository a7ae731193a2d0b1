"""Register two scans by a trained VoxelMorph."""

from typing import Any, Unpack

from anyvox_keras.features import FeatureExtractor
from anyvox_keras.registration.pair_options import ImageLike, PairOptions
from anyvox_keras.registration.register import register
from anyvox_keras.registration.registration import Registration
from anyvox_keras.voxelmorph.network_search import NetworkSearch
from anyvox_keras.voxelmorph.voxelmorph import VoxelMorph


def register_scans(
    model: VoxelMorph,
    fixed: ImageLike,
    moving: ImageLike,
    *,
    iterations: int = 0,
    loss: str = "mind",
    extractor: FeatureExtractor | None = None,
    smoothness: float = 0.5,
    spacing: float | None = None,
    **options: Unpack[PairOptions],
) -> Registration:
    """Bring `moving` onto `fixed` by a trained network: `register` with a `NetworkSearch`.

    The affine stage, if `options` ask for one, compares MIND.

    Args:
        model: See `NetworkSearch`, as for the next five arguments.
        fixed: Path, nibabel image, `Volume`, or array `(D, H, W)` (voxels of 1 mm).
        moving: The same; it need not share the grid.
        iterations: Steps of instance optimisation.
        loss: What they minimise.
        extractor: Features of the loss "feature".
        smoothness: Weight of the penalty in `refine`.
        spacing: Millimetres of the lattice that the network sees.
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
    search: Any = NetworkSearch(model, iterations, loss, extractor, smoothness, spacing)
    return register(fixed, moving, "mind", method=search, **options)
