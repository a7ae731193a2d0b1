"""Labels and landmarks of a pair, brought to where the search and the affine stage use them."""

import numpy as np
from keras import ops
from scipy import ndimage

from anyvox_keras.backend import no_gradient
from anyvox_keras.geometry import Grid, Volume, resample_to
from anyvox_keras.ops import average_pool
from anyvox_keras.registration.deformable.deform import POOL
from anyvox_keras.registration.deformable.terms import Terms
from anyvox_keras.registration.pair_inputs import PairInputs
from anyvox_keras.types import Array

# pooled voxels that a landmark of weight one counts as much as
_VOXELS = 100.0


def terms_of(
    pair: PairInputs, grid: Grid, affine: np.ndarray, pads: tuple[int, ...]
) -> Terms | None:
    """Bring the labels and landmarks that the search is to use onto its lattice.

    Args:
        pair: The images and what is known of them.
        grid: The lattice of the images, in the fixed world.
        affine: `(4, 4)`, mm, RAS: fixed world to moving world.
        pads: Voxels that are added behind each axis.

    Returns:
        The terms; none where the user asked for none.
    """
    if not pair.guides:
        return None
    terms = Terms()
    if pair.label_weight:
        terms = terms._replace(labels=_labels(pair, grid, affine, pads))
    if pair.landmark_weight:
        shape = [n + pad for n, pad in zip(grid.shape, pads, strict=True)]
        terms = _with_points(terms, pair, grid, affine, shape)
    return terms


def _labels(
    pair: PairInputs, grid: Grid, affine: np.ndarray, pads: tuple[int, ...]
) -> tuple[Array, Array]:
    """Give every structure that both maps hold a channel, times the weight's root."""
    behind, root = [(0, pad) for pad in pads], pair.label_weight**0.5
    sides = []
    for volume, world in zip(pair.label_maps, (np.eye(4), affine), strict=True):
        placed = Volume(volume.array, np.linalg.inv(world) @ volume.affine)
        array = np.pad(resample_to(placed, grid).array, behind, "edge")
        channels = [_pooled(array == label) for label in pair.shared_labels]
        sides.append(ops.concatenate(channels, axis=-1) * root)
    return sides[0], sides[1]


def _pooled(structure: np.ndarray) -> Array:
    """Return the share of each pooled voxel, `(1, d, h, w, 1)`, that a structure fills."""
    with no_gradient():
        return average_pool(ops.convert_to_tensor(structure[None, ..., None].astype("float32")))


def _with_points(
    terms: Terms, pair: PairInputs, grid: Grid, affine: np.ndarray, shape: list[int]
) -> Terms:
    """Add the landmarks that lie in the fixed image; elsewhere only the affine part moves them."""
    fixed, moving = pair.guiding_points
    back = np.linalg.inv(affine)
    ends = [grid.to_voxel(fixed), grid.to_voxel(moving @ back[:3, :3].T + back[:3, 3])]
    pooled = np.array([n // POOL for n in shape])
    steps = (ends[1] - ends[0]) / POOL

    def place(points: np.ndarray) -> Array:
        return _rows((points + 0.5) * pooled / shape - 0.5)

    return terms._replace(
        points=(place(ends[0]), place(ends[1])),
        steps=(_rows(steps), _rows(-steps)),
        pull=ops.convert_to_tensor(pair.landmark_weight * _VOXELS / pooled.prod(), "float32"),
    )


def _rows(points: np.ndarray) -> Array:
    return ops.convert_to_tensor(points[None, :, None, None].astype("float32"))


def corresponding_points(pair: PairInputs) -> tuple[np.ndarray, np.ndarray] | None:
    """Points of both images that belong together, as far as the search is to use them.

    Landmarks, and the centre of mass of each structure that both label maps have.

    Returns:
        Two `(N, 3)` arrays, mm, RAS; or none.
    """
    both = [pair.guiding_points] if pair.landmark_weight else []
    if pair.label_weight:
        both.append((_centres(pair, 0), _centres(pair, 1)))
    if not both:
        return None
    fixed, moving = (np.concatenate(side) for side in zip(*both, strict=True))
    return fixed, moving


def _centres(pair: PairInputs, side: int) -> np.ndarray:
    volume = pair.label_maps[side]
    centres = ndimage.center_of_mass(volume.array > 0, volume.array, pair.shared_labels)
    return volume.grid.to_world(np.array(centres))
