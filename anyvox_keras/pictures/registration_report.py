"""The report of a registration on one page."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anyvox_keras import backend
from anyvox_keras.geometry.grid import Grid
from anyvox_keras.ops import jacobian_determinant
from anyvox_keras.pictures import drawing

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
    """Draw what shows whether a registration is good, in three planes.

    Columns: fixed, moving, moved (with outlines of labels), checkerboards before and after, the
    fixed grid bent by the displacement, and the Jacobian determinant with folds marked.

    Args:
        fixed: `(D, H, W)`.
        moving: the moving image resampled to the fixed grid, before registration.
        moved: the moving image after registration.
        displacement: `(D, H, W, 3)`, in voxels of the fixed grid.
        grid: the fixed image's lattice.
        segmentations: label maps of fixed, moving, moved, all on the fixed grid.
        title: heading that says what was registered.
        summary: one line of results, such as the Dice before and after.
        at: voxel through which the planes pass; the default is the middle of the labels, else of
            the image.

    Returns:
        A matplotlib `Figure`; `save_figure` writes it.

    Example:
        ```python
        >>> noise = np.random.default_rng(0).normal(size=(8, 8, 8))
        >>> still = np.zeros((8, 8, 8, 3))
        >>> figure = registration_report(noise, noise, noise, still)
        ```
    """
    if at is None and segmentations is not None:
        at = drawing.middle(segmentations[0])
    cut = drawing.Cut.of(grid or Grid(fixed.shape, np.eye(4)), at)
    columns = {
        **_images(cut, (fixed, moving, moved), segmentations),
        "displaced grid, mm": _grid(cut, displacement, drawing.window(fixed)),
        "Jacobian determinant": _jacobian(cut, displacement),
    }
    figure, boxes = report_page(cut, len(columns))
    for column, (name, draw) in enumerate(columns.items()):
        left, top, wide, _ = boxes[column][0]
        drawing.add_text(figure, left + wide / 2, top - 0.14, name, ha="center")
        for (_, axis, _), box in zip(drawing.PLANES, boxes[column], strict=True):
            drawn = draw(drawing.add_plane(figure, box, cut, axis), axis)
        if column >= len(columns) - 2:
            colour_bar(figure, drawn, boxes[column][-1], logarithmic=column == len(columns) - 1)
    report_words(figure, title, summary)
    return figure


def _images(
    cut: drawing.Cut, images: tuple[np.ndarray, ...], segmentations: tuple[np.ndarray, ...] | None
) -> dict[str, Draw]:
    """Return the painters of the five columns of grey images."""
    fixed, moving, moved = (drawing.window(image) for image in images)
    maps = segmentations or (None, None, None)
    target = maps[0]
    return {
        "fixed": _grey(cut, fixed, maps[0]),
        "moving": _grey(cut, moving, maps[1], target),
        "moved": _grey(cut, moved, maps[2], target),
        "checkerboard before": _grey(cut, drawing.checkerboard(fixed, moving)),
        "checkerboard after": _grey(cut, drawing.checkerboard(fixed, moved)),
    }


def _grey(
    cut: drawing.Cut,
    image: np.ndarray,
    labels: np.ndarray | None = None,
    target: np.ndarray | None = None,
) -> Draw:
    def draw(axes: Any, axis: int) -> None:
        drawing.show(axes, cut, image, axis)
        if target is not None:
            drawing.label_contours(axes, cut, target, axis, colour=drawing.TEXT, width=0.45)
        if labels is not None:
            drawing.label_contours(axes, cut, labels, axis)

    return draw


def _grid(cut: drawing.Cut, displacement: np.ndarray, image: np.ndarray) -> Draw:
    lengths = np.linalg.norm(cut.vectors(displacement), axis=-1)
    top = max(float(np.percentile(lengths, 99.5)), 1e-3)

    def draw(axes: Any, axis: int) -> Any:
        drawing.show(axes, cut, image, axis, alpha=0.25)
        return warped_grid(axes, cut, displacement, axis, top)

    return draw


def _jacobian(cut: drawing.Cut, displacement: np.ndarray) -> Draw:
    from matplotlib.colors import LinearSegmentedColormap, ListedColormap, LogNorm

    field = np.asarray(displacement, "float32")[None]
    with backend.no_gradient():
        determinant = backend.to_numpy(jacobian_determinant(field))[0]

    # symmetric about 1 (no change of volume), never finer than a tenth nor coarser than fourfold
    spread = np.percentile(np.abs(np.log(np.maximum(determinant, 1e-3))), 99)
    bound = float(np.clip(np.exp(spread), 1.1, 4))
    colours = LinearSegmentedColormap.from_list("volume", drawing.DIVERGING)

    def draw(axes: Any, axis: int) -> Any:
        style = {"cmap": colours, "norm": LogNorm(1 / bound, bound), "vmin": None, "vmax": None}
        drawn = drawing.show(axes, cut, np.maximum(determinant, 1e-6), axis, **style)
        folds = np.where(determinant <= 0, 1.0, np.nan)
        drawing.show(
            axes, cut, folds, axis, cmap=ListedColormap([drawing.ALARM]), interpolation="nearest"
        )
        return drawn

    return draw


#: inches between panels, above and below them
GAP, HEAD, FOOT = 0.06, 0.95, 0.55


def report_page(cut: drawing.Cut, columns: int, width: float = 2.1) -> tuple[Any, list[list[Any]]]:
    """Return a figure and the boxes of its panels, by column, to one scale in mm."""
    sizes = [cut.size(axis) for _, axis, _ in drawing.PLANES]
    scale = width / max(wide for wide, _ in sizes)
    tops = HEAD + np.concatenate([[0], np.cumsum([high * scale + GAP for _, high in sizes])])
    figure = drawing.new_figure(columns * (width + GAP) + GAP, float(tops[-1]) + FOOT)
    boxes = []
    for column in range(columns):
        left = GAP + column * (width + GAP)
        boxes.append(
            [
                (left + (width - wide * scale) / 2, float(top), wide * scale, high * scale)
                for (wide, high), top in zip(sizes, tops[:-1], strict=True)
            ]
        )
    return figure, boxes


def colour_bar(figure: Any, drawn: Any, box: Any, logarithmic: bool) -> None:
    """Draw a colour bar below a panel, with three ticks."""
    left, top, wide, high = box
    axes = drawing.add_panel(figure, (left + 0.15 * wide, top + high + 0.12, 0.7 * wide, 0.07))
    axes.set_axis_on()
    bar = figure.colorbar(drawn, cax=axes, orientation="horizontal")
    bar.outline.set_visible(False)
    low, top_value = bar.mappable.get_clim()
    ticks = [low, 1, top_value] if logarithmic else [0, top_value / 2, top_value]
    bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
    bar.ax.minorticks_off()
    bar.ax.tick_params(colors=drawing.MUTED, labelsize=7, length=0, pad=2)


def report_words(figure: Any, title: str, summary: str) -> None:
    """Write the title, the results, and how to read the page."""
    height = figure.get_size_inches()[1]
    drawing.add_text(figure, 2 * GAP, 0.28, title, fontsize=13, fontweight="bold")
    drawing.add_text(figure, 2 * GAP, 0.56, summary, color=drawing.MUTED)
    drawing.add_text(
        figure,
        2 * GAP,
        height - 0.22,
        "Radiological: the patient's right, and the front in the last row, is on the left. "
        "White outlines are the fixed labels; pink marks folds.",
        color=drawing.MUTED,
        fontsize=7,
    )


def warped_grid(
    axes: Any, cut: drawing.Cut, displacement: np.ndarray, axis: int, top: float, lines: int = 30
) -> Any:
    """Draw grid lines of the fixed image where the displacement takes them, in one plane.

    Lines are coloured by the length of the displacement, out-of-plane part included.

    Args:
        axes: axes in mm, as `add_plane` makes them.
        cut: where the planes lie.
        displacement: `(D, H, W, 3)` in voxels.
        axis: which plane, by the R, A, S axis it cuts.
        top: length in mm that gets the last colour of the scale.
        lines: number of lines along the longest side.

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
