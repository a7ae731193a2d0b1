"""The demo's registration problem: a real head, deformed and repainted, truth known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from anyvox_keras import random
from anyvox_keras.backend import to_numpy
from anyvox_keras.geometry import Grid, Volume
from anyvox_keras.ops import gaussian_filter, integrate_velocity, warp

LARGEST_MM = 12.0
SEED = 20


@dataclass(frozen=True)
class DemoPair:
    """A fixed and a moving image with their label maps and the true displacement.

    Attributes:
        fixed: T1 template.
        moving: The same head under the inverse deformation, in another contrast.
        fixed_labels: 1 grey matter, 2 white matter.
        moving_labels: The same, deformed.
        truth: `(D, H, W, 3)`: displacement in fixed voxels that aligns moving to fixed.
    """

    fixed: Volume
    moving: Volume
    fixed_labels: Volume
    moving_labels: Volume
    truth: np.ndarray

    def error_mm(self, displacement: np.ndarray | None = None) -> float:
        """Mean distance from the truth in mm over grey and white matter (TRE)."""
        wrong = self.truth if displacement is None else displacement - self.truth
        inside = self.fixed_labels.array > 0
        return float(np.linalg.norm(wrong[inside] * self.fixed.spacing, axis=-1).mean())


def make_demo_pair(resolution: int = 2) -> DemoPair:
    """Deform and repaint the MNI152 T1 template that nilearn carries.

    The deformation is the flow of a smooth random velocity, at most 12 mm; its inverse, the flow
    of the negative velocity, makes the moving image. The new contrast is a polynomial of the T1
    intensity that rises and falls, times a bias field, plus noise.
    """
    template, grey, white = _load_template(resolution)
    grid = Grid(template.shape, template.affine)
    intensity = np.clip(template.get_fdata(dtype="float32"), 0, None)
    intensity = intensity / intensity.max()
    labels = np.where(white, 2, np.where(grey, 1, 0)).astype("int32")
    velocity = _velocity(grid)
    truth, inverse = (integrate_velocity(sign * velocity) for sign in (1.0, -1.0))
    repainted = _repaint(intensity)
    # Noise belongs to the scanner: it is added after the head has moved.
    moving = to_numpy(warp(_batch(repainted), inverse))[0, ..., 0] + _noise(grid.shape)
    moving_labels = to_numpy(warp(labels[None], inverse, "nearest"))[0]

    def volume(array: np.ndarray, name: str) -> Volume:
        return Volume(array, template.affine, template.header, name=name)

    return DemoPair(
        fixed=volume(intensity, "MNI152 T1"),
        moving=volume(moving.astype("float32"), "deformed, repainted"),
        fixed_labels=volume(labels, "tissue"),
        moving_labels=volume(moving_labels, "deformed tissue"),
        truth=to_numpy(truth)[0],
    )


def _load_template(resolution: int) -> tuple[Any, np.ndarray, np.ndarray]:
    from nilearn import datasets

    template = datasets.load_mni152_template(resolution)
    masks = (datasets.load_mni152_gm_mask(resolution), datasets.load_mni152_wm_mask(resolution))
    grey, white = (np.asarray(mask.dataobj) > 0 for mask in masks)
    return template, grey, white


def _batch(array: np.ndarray) -> Any:
    return ops.convert_to_tensor(array[None, ..., None].astype("float32"))


def _velocity(grid: Grid) -> Any:
    """Smooth noise on 40 mm nodes, scaled to the largest displacement."""
    keys = random.keys_for(SEED, [0], "velocity")
    scale = 40.0 / grid.spacing[0]
    velocity = gaussian_filter(
        random.smooth_noise(keys, grid.shape, scale, channels=3), scale / 4, mode="edge"
    )
    largest = ops.max(ops.sqrt(ops.sum(ops.square(velocity), axis=-1)))
    return velocity * (LARGEST_MM / grid.spacing[0] / largest)


def _repaint(intensity: np.ndarray) -> np.ndarray:
    """Map T1 intensities by a cubic through (0, .1) (.35, .95) (.65, .25) (1, .7), with bias."""
    knots = [0.0, 0.35, 0.65, 1.0], [0.1, 0.95, 0.25, 0.7]
    repainted = np.polyval(np.polyfit(*knots, 3), intensity) * (intensity > 0.05)
    keys = random.keys_for(SEED, [0], "bias")
    bias = to_numpy(random.smooth_noise(keys, intensity.shape, intensity.shape[0] / 3))[0, ..., 0]
    return np.clip(repainted, 0, None) * np.exp(0.3 * bias)


def _noise(shape: tuple[int, ...]) -> np.ndarray:
    return 0.03 * to_numpy(random.normal(random.keys_for(SEED, [0], "noise"), shape))[0]
