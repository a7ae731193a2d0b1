"""Three planes of a volume."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from anyvox_keras.geometry.grid import Grid
from anyvox_keras.pictures._planes import PLANES, Cut, add_plane, show
from anyvox_keras.pictures._style import MUTED, add_text, new_figure
from anyvox_keras.pictures.label_contours import label_contours
from anyvox_keras.pictures.window import window


def planes(
    images: np.ndarray | Sequence[np.ndarray],
    grid: Grid | None = None,
    titles: str | Sequence[str] = "",
    at: Sequence[int] | None = None,
    labels: np.ndarray | Sequence[np.ndarray | None] | None = None,
    width: float = 2.4,
) -> Any:
    """Draw axial, coronal and sagittal planes of images, one image per row, to scale.

    Radiological: the patient's right is on the left, whatever the order of the array's axes.

    Args:
        images: `(D, H, W)` grey values, or `(D, H, W, 3)` colours in [0, 1]; one or several.
        grid: their lattice; the default is voxels of 1 mm, axes R, A, S.
        titles: one per row.
        at: voxel through which the planes pass; the default is the middle.
        labels: label maps whose outlines are drawn; one or several.
        width: width of the widest plane in inches.

    Returns:
        A matplotlib `Figure`; `save_figure` writes it.

    Example:
        ```python
        >>> figure = planes(np.random.default_rng(0).normal(size=(8, 9, 10)), titles="noise")
        >>> len(figure.axes)
        3
        ```
    """
    rows = [images] if isinstance(images, np.ndarray) else list(images)
    names = [titles] * len(rows) if isinstance(titles, str) else list(titles)
    one = labels is None or isinstance(labels, np.ndarray)
    maps: Sequence[Any] = [labels] * len(rows) if one else labels  # type: ignore[assignment]
    cut = Cut.of(grid or Grid(rows[0].shape[:3], np.eye(4)), at)
    sizes = [cut.size(axis) for _, axis, _ in PLANES]
    scale = width / max(wide for wide, _ in sizes)
    row_height, gap, head = max(high for _, high in sizes) * scale, 0.08, 0.3
    figure = new_figure(
        sum(wide for wide, _ in sizes) * scale + 4 * gap, len(rows) * (row_height + head) + gap
    )
    for row, (image, name, outline) in enumerate(zip(rows, names, maps, strict=True)):
        shown = image if image.ndim == 4 else window(image)
        top, left = row * (row_height + head) + head, gap
        add_text(figure, gap, top - head / 2, name)
        for (_, axis, _), (wide, high) in zip(PLANES, sizes, strict=True):
            middle = top + (row_height - high * scale) / 2
            axes = add_plane(figure, (left, middle, wide * scale, high * scale), cut, axis)
            show(axes, cut, shown, axis)
            if outline is not None:
                label_contours(axes, cut, outline, axis)
            left += wide * scale + gap
    right = figure.get_size_inches()[0] - gap
    add_text(figure, right, head / 2, "R, A on the left", color=MUTED, fontsize=7, ha="right")
    return figure
