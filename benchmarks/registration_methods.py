"""The methods that `benchmarks/registration.py` compares: ours, ConvexAdam, ANTs.

A method is a name `tool:variant`: `torch:default`, `jax:diffeomorphic`, `convexadam:default`,
`convexadam:paper`, `ants:syn`, `ants:clipped`. Ours takes settings behind the preset:
`torch:default;adam.smoothness=1;levels=4x3+2x2`, and features: `torch:default;features=both`.
A trained VoxelMorph is `torch:voxelmorph`, with `network=` a preset or run (anyvox-morph),
`passes=`, `both_ways=` 0 or 1, `refine=` the steps of the descent, `smoothness=`, and
`affine=affine` for an affine stage first.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BACKENDS = ("torch", "jax", "tensorflow")
Masks = dict[str, Path]
Method = Callable[[Path, Masks], np.ndarray]


def method(name: str) -> Method:
    """Return the function of a pair's folder and its masks that gives a displacement.

    The displacement is `(D, H, W, 3)` in voxels of the fixed grid. `None` comes back in its place
    where a tool cannot use a mask.
    """
    tool, _, variant = name.partition(":")
    if tool == "convexadam":
        return _convexadam(variant)
    if tool == "ants":
        return lambda folder, masks: _ants(folder, masks, variant == "clipped")
    return _ours(variant)


def _ours(variant: str) -> Method:
    from anyvox_keras.registration import FeatureSettings, changed, register, settings_of

    preset, *choices = variant.split(";")
    given = dict(choice.split("=", 1) for choice in choices)
    if preset == "voxelmorph":
        return _voxelmorph(**given)
    features = given.pop("features", "mind")
    options: dict[str, Any] = {"settings": changed(settings_of(preset), given)}
    options |= (
        {"feature_settings": FeatureSettings("mind")}
        if features == "mind"
        else {"features": features}
    )

    def run(folder: Path, masks: Masks) -> np.ndarray:
        images = {side: folder / f"{side}.nii.gz" for side in ("fixed", "moving")}
        return register(**images, **masks, **options).displacement

    return run


def _voxelmorph(
    network: str = "anyvox-morph",
    refine: str = "0",
    smoothness: str = "",
    voxels: str = str(96**3),
    passes: str = "2",
    both_ways: str = "1",
    **options: Any,
) -> Method:
    from anyvox_keras.voxelmorph import load_network, register_scans

    settings: dict[str, Any] = {"model": load_network(network), "iterations": int(refine)}
    settings |= {"smoothness": float(smoothness) if smoothness else None, "voxels": int(voxels)}
    settings |= {"passes": int(passes), "both_ways": both_ways == "1"}

    def run(folder: Path, masks: Masks) -> np.ndarray:
        images = {side: folder / f"{side}.nii.gz" for side in ("fixed", "moving")}
        return register_scans(**settings, **images, **masks, **options).displacement

    return run


def _convexadam(variant: str) -> Method:
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt

    paper = {"lambda_weight": 0.75, "grid_sp": 2, "disp_hw": 1}
    chosen = paper if variant == "paper" else {}

    def run(folder: Path, masks: Masks) -> np.ndarray | None:
        from anyvox_keras.io import load_volume

        if masks and len(masks) < 2:  # it takes two or none
            return None
        paths = {f"path_{name}": path for name, path in masks.items()}
        images = (load_volume(folder / f"{name}.nii.gz").array for name in ("fixed", "moving"))
        try:
            return convex_adam_pt(
                *images, **chosen, **paths, use_mask=bool(masks), dtype=torch.float32,
                device=torch.device("cpu"),
            )  # fmt: skip
        except (RuntimeError, IndexError):  # few slices, or with masks an odd number of voxels
            return None

    return run


def _ants(folder: Path, masks: Masks, clipped: bool) -> np.ndarray:
    """SyN with mutual information.

    Its histogram spans the whole range of intensities, so that a few bright voxels (cortical bone
    in a CT) can mislead it: `clipped` cuts each image at its 5th and 95th percentile first.
    """
    import ants

    from anyvox_keras.io import load_volume, load_warp

    images = [ants.image_read(str(folder / f"{n}.nii.gz")) for n in ("fixed", "moving")]
    if clipped:
        images = [i.new_image_like(np.clip(i.numpy(), *_limits(i.numpy()))) for i in images]
    names = {"fixed_mask": "mask", "moving_mask": "moving_mask"}
    read = {names[name]: ants.image_read(str(path)) for name, path in masks.items()}
    found = ants.registration(*images, "SyNOnly", initial_transform="Identity", **read)
    warp = next(path for path in found["fwdtransforms"] if path.endswith(".nii.gz"))
    return load_warp(warp).to_voxels(load_volume(folder / "fixed.nii.gz").grid)


def _limits(array: np.ndarray) -> np.ndarray:
    return np.quantile(array, [0.05, 0.95])
