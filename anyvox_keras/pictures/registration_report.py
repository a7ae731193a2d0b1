"""A registration on one page."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anyvox_keras.io.grid import Grid
from anyvox_keras.ops import _backend, jacobian_determinant
from anyvox_keras.pictures._planes import PLANES, Cut, add_plane, show
from anyvox_keras.pictures._report_page import colour_bar, report_page, report_words
from anyvox_keras.pictures._style import (
    ALARM,
    DIVERGING,
    TEXT,
    add_text,
)
from anyvox_keras.pictures.checkerboard import checkerboard
from anyvox_keras.pictures.label_contours import label_contours
from anyvox_keras.pictures.warped_grid import warped_grid
from anyvox_keras.pictures.window import window

Draw = Callable[[Any, int], Any]


def registration_report(
    fixed: np.ndarray,
    moving: np.ndarray,
    moved: np.ndarray,
    displacement: np.ndarray,
    grid: Grid | None = None,
    segmentations: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    title: str = "registration",
    summary: str = "",
    at: Sequence[int] | None = None,
) -> Any:
    """Draw a registration: three planes of everything that shows whether it is good.

    Columns: fixed, moving, moved (with outlines of labels), checkerboards before and after, the
    fixed grid bent by the displacement, and the Jacobian determinant with folds marked.

    Args:
        fixed: `(D, H, W)`.
        moving: the moving image resampled to the fixed grid, before registration.
        moved: the moving image after registration.
        displacement: `(D, H, W, 3)`, in voxels of the fixed grid.
        grid: the fixed image's lattice.
        segmentations: label maps of fixed, moving, moved, all on the fixed grid.
        title: what was registered.
        summary: one line of results, such as the Dice before and after.
        at: voxel through which the planes pass; the default is the middle of the labels, else of
            the image.

    Returns:
        A matplotlib `Figure`; `save_figure` writes it.

    Raises:
        UserError: matplotlib is not installed.

    Example:
        ```python
        >>> noise = np.random.default_rng(0).normal(size=(8, 8, 8))
        >>> still = np.zeros((8, 8, 8, 3))
        >>> figure = registration_report(noise, noise, noise, still)
        ```
    """
    middle = at if at is not None else _middle(segmentations)
    cut = Cut.of(grid or Grid(fixed.shape, np.eye(4)), middle)
    columns = {
        **_images(cut, (fixed, moving, moved), segmentations),
        "displaced grid, mm": _grid(cut, displacement, window(fixed)),
        "Jacobian determinant": _jacobian(cut, displacement),
    }
    figure, boxes = report_page(cut, len(columns))
    for column, (name, draw) in enumerate(columns.items()):
        left, top, wide, _ = boxes[column][0]
        add_text(figure, left + wide / 2, top - 0.14, name, ha="center")
        for (_, axis, _), box in zip(PLANES, boxes[column], strict=True):
            drawn = draw(add_plane(figure, box, cut, axis), axis)
        if column >= len(columns) - 2:
            colour_bar(figure, drawn, boxes[column][-1], logarithmic=column == len(columns) - 1)
    report_words(figure, title, summary)
    return figure


def _images(
    cut: Cut, images: tuple[np.ndarray, ...], segmentations: tuple[np.ndarray, ...] | None
) -> dict[str, Draw]:
    """Return the painters of the five columns of grey images."""
    fixed, moving, moved = (window(image) for image in images)
    maps = segmentations or (None, None, None)
    target = maps[0]
    return {
        "fixed": _grey(cut, fixed, maps[0]),
        "moving": _grey(cut, moving, maps[1], target),
        "moved": _grey(cut, moved, maps[2], target),
        "checkerboard before": _grey(cut, checkerboard(fixed, moving)),
        "checkerboard after": _grey(cut, checkerboard(fixed, moved)),
    }


def _grey(
    cut: Cut, image: np.ndarray, labels: np.ndarray | None = None, target: np.ndarray | None = None
) -> Draw:
    def draw(axes: Any, axis: int) -> None:
        show(axes, cut, image, axis)
        if target is not None:
            label_contours(axes, cut, target, axis, colour=TEXT, width=0.45)
        if labels is not None:
            label_contours(axes, cut, labels, axis)

    return draw


def _grid(cut: Cut, displacement: np.ndarray, image: np.ndarray) -> Draw:
    lengths = np.linalg.norm(cut.vectors(displacement), axis=-1)
    top = max(float(np.percentile(lengths, 99.5)), 1e-3)

    def draw(axes: Any, axis: int) -> Any:
        show(axes, cut, image, axis, alpha=0.25)
        return warped_grid(axes, cut, displacement, axis, top)

    return draw


def _jacobian(cut: Cut, displacement: np.ndarray) -> Draw:
    from matplotlib.colors import LinearSegmentedColormap, ListedColormap, LogNorm

    field = np.asarray(displacement, "float32")[None]
    with _backend.no_gradient():
        determinant = _backend.to_numpy(jacobian_determinant(field))[0]

    # symmetric about 1 (no change of volume), never finer than a tenth nor coarser than fourfold
    spread = np.percentile(np.abs(np.log(np.maximum(determinant, 1e-3))), 99)
    bound = float(np.clip(np.exp(spread), 1.1, 4))
    colours = LinearSegmentedColormap.from_list("volume", DIVERGING)

    def draw(axes: Any, axis: int) -> Any:
        style = {"cmap": colours, "norm": LogNorm(1 / bound, bound), "vmin": None, "vmax": None}
        drawn = show(axes, cut, np.maximum(determinant, 1e-6), axis, **style)
        folds = np.where(determinant <= 0, 1.0, np.nan)
        show(axes, cut, folds, axis, cmap=ListedColormap([ALARM]), interpolation="nearest")
        return drawn

    return draw


def _middle(segmentations: tuple[np.ndarray, ...] | None) -> list[int] | None:
    """Return the centre of the fixed labels, so that the planes meet them."""
    if segmentations is None or not (segmentations[0] > 0).any():
        return None
    return [round(float(axis.mean())) for axis in np.nonzero(segmentations[0])]
