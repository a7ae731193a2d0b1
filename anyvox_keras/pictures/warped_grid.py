"""A grid bent by a displacement."""

from typing import Any

import numpy as np

from anyvox_keras.pictures._planes import Cut


def warped_grid(
    axes: Any, cut: Cut, displacement: np.ndarray, axis: int, top: float, lines: int = 30
) -> Any:
    """Draw grid lines of the fixed image where the displacement takes them, in one plane.

    Lines are coloured by the length of the displacement, out-of-plane part included.

    Args:
        axes: axes in mm, as `add_plane` makes them.
        cut: where the planes lie.
        displacement: `(D, H, W, 3)` in voxels.
        axis: which plane, by the R, A, S axis it cuts.
        top: the length in mm that has the last colour.
        lines: along the longest side.

    Returns:
        The last line collection, for a colour bar.
    """
    from matplotlib.collections import LineCollection

    vectors = cut.plane(cut.vectors(displacement), axis)
    length = np.linalg.norm(vectors, axis=-1)
    steps = np.delete(cut.spacing, axis)
    rows, columns = vectors.shape[:2]
    place = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1) * steps
    place = place + np.delete(vectors, axis, axis=-1)
    pitch = max(rows * steps[1], columns * steps[0]) / lines
    every = [max(1, round(pitch / step)) for step in (steps[1], steps[0])]
    drawn = None
    for points, values in (
        (place[:: every[0]], length[:: every[0]]),
        (place[:, :: every[1]].swapaxes(0, 1), length[:, :: every[1]].swapaxes(0, 1)),
    ):
        segments = np.stack([points[:, :-1], points[:, 1:]], 2).reshape(-1, 2, 2)
        shade = (values[:, 1:] + values[:, :-1]).ravel() / 2
        drawn = LineCollection(list(segments), array=shade, cmap="viridis", linewidths=0.6)
        drawn.set_clim(0, top)
        axes.add_collection(drawn)
    return drawn
