"""The methods that `benchmarks/registration.py` compares: ours, ConvexAdam, ANTs.

A method is a name `tool:variant`: `torch:default`, `jax:diffeomorphic`, `convexadam:default`,
`convexadam:paper`, `ants:syn`, `ants:clipped`. Ours takes settings behind the preset:
`torch:default;adam.smoothness=1;levels=4x3+2x2`, and features: `torch:default;features=both`.
A trained VoxelMorph is `torch:voxelmorph`, with `network=` a preset or run (anyvox-morph),
`passes=`, `both_ways=` 0 or 1, `iterations=` the steps of the descent, `smoothness=`, and
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


def _voxelmorph(network: str = "anyvox-morph", **options: str) -> Method:
    from anyvox_keras.voxelmorph import how_to_ask, load_network, register_scans

    # The pairs are aligned: an affine stage is asked for.
    settings: dict[str, Any] = {**how_to_ask(network), "affine": None}
    numbers = {
        "iterations": int,
        "smoothness": float,
        "passes": int,
        "both_ways": int,
        "voxels": int,
    }
    settings |= {name: numbers.get(name, str)(value) for name, value in options.items()}
    settings["model"] = load_network(network)

    def run(folder: Path, masks: Masks) -> np.ndarray:
        images = {side: folder / f"{side}.nii.gz" for side in ("fixed", "moving")}
        return register_scans(**settings, **images, **masks).displacement

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
