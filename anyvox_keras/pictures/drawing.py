"""Planes of a volume: windows, outlines, checkerboards."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import nibabel as nib
import numpy as np

from anyvox_keras.geometry.grid import Grid
from anyvox_keras.io.output import atomic, check_output

BACKGROUND = "#0d1117"
TEXT = "#e6edf3"
MUTED = "#8b949e"
ALARM = "#f778ba"
#: of the lines of a plot
LINES = ("#58a6ff", "#f0883e", "#56d364", "#d2a8ff", "#ff7b72")
#: shrinking, unchanged, growing
DIVERGING = ("#a5d8ff", "#1f6feb", "#161b22", "#d9480f", "#ffd8a8")
#: name, the axis it cuts (R, A, S), the letter at its left edge
PLANES = (("axial", 2, "R"), ("coronal", 1, "R"), ("sagittal", 0, "A"))


def style() -> dict[str, Any]:
    """Return settings of Matplotlib by which a plot looks as the package's own pictures do.

    Example:
        ```python
        from matplotlib import pyplot as plt

        from anyvox_keras.pictures import style

        with plt.rc_context(style()):
            figure, axes = plt.subplots()
            axes.plot([8.5, 7.2, 6.9], label="loss")
        ```
    """
    dark = dict.fromkeys(("figure", "axes", "savefig", "legend"), BACKGROUND)
    pale = ("text.color", "axes.titlecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    return {
        **{f"{part}.facecolor": colour for part, colour in dark.items()},
        **dict.fromkeys(pale, TEXT),
        **dict.fromkeys(("axes.edgecolor", "grid.color", "legend.edgecolor"), MUTED),
        "axes.prop_cycle": f"cycler('color', {list(LINES)})",
        "font.size": 9,
    }


def new_figure(width: float, height: float) -> Any:
    """Return an empty dark figure, inches, that needs no display and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _figure_class()(figsize=(width, height), facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


@cache
def _figure_class() -> Any:
    """A figure that a notebook shows: matplotlib's own is text there, unless pyplot made it."""
    from matplotlib.figure import Figure

    return type("Figure", (Figure,), {"_repr_png_": _png})


def _png(figure: Any) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=100, facecolor=figure.get_facecolor())
    return file.getvalue()


def add_panel(figure: Any, box: tuple[float, float, float, float]) -> Any:
    """Return axes without ticks or frame; `box` is left, top, width, height in inches."""
    width, height = figure.get_size_inches()
    left, top, wide, high = box
    axes = figure.add_axes(
        (left / width, 1 - (top + high) / height, wide / width, high / height), facecolor=BACKGROUND
    )
    axes.set_axis_off()
    return axes


def add_text(figure: Any, left: float, top: float, text: str, **style: Any) -> None:
    """Write at a place given in inches from the top left corner."""
    width, height = figure.get_size_inches()
    style = {"color": TEXT, "fontsize": 9, "va": "center", **style}
    figure.text(left / width, 1 - top / height, text, **style)


def save_figure(
    figure: Any, path: str | os.PathLike[str], overwrite: bool = False, dpi: int = 150
) -> None:
    """Write a figure as PNG (or what the ending says); the file appears whole.

    Raises:
        UserError: the file exists and `overwrite` is false, or its folder cannot be written.
    """
    with atomic(check_output(path, overwrite)) as temporary:
        figure.savefig(temporary, dpi=dpi, facecolor=figure.get_facecolor())


def label_colours(count: int) -> np.ndarray:
    """Return `(count, 3)` colours, black for 0; neighbours in number differ in hue."""
    from matplotlib.colors import hsv_to_rgb

    index = np.arange(count)
    # the golden ratio spreads any number of hues evenly
    hue = (0.55 + index * 0.61803398875) % 1
    saturation = np.where(index % 2, 0.55, 0.75)
    colours: np.ndarray = hsv_to_rgb(np.stack([hue, saturation, np.full(count, 0.95)], -1))
    colours[:1] = 0
    return colours


def window(image: np.ndarray, low: float = 0.5, high: float = 99.5) -> np.ndarray:
    """Scale an image to [0, 1] between two percentiles of its values above the background.

    Args:
        image: any shape; its most common value is the background when it is the smallest.
        low: percentile that becomes 0.
        high: percentile that becomes 1.

    Returns:
        float32 of the same shape, clipped to [0, 1]; zeros for a constant image.

    Example:
        ```python
        >>> window(np.arange(5.0), 0, 100).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
        ```
    """
    image = np.asarray(image, "float32")
    values = image[np.isfinite(image)]
    # a large empty background would otherwise dominate the percentiles
    content = values[values > values.min()] if values.size else values
    if not content.size:
        return np.zeros(image.shape, "float32")
    bottom = min(float(np.percentile(content, low)), float(np.percentile(values, low)))
    top = float(np.percentile(content, high))
    scaled = (np.nan_to_num(image, nan=bottom) - bottom) / max(top - bottom, 1e-12)
    return np.asarray(np.clip(scaled, 0, 1), "float32")


@dataclass(frozen=True)
class Cut:
    """Three planes through one point of a grid, drawn to one scale.

    Arrays are turned to the nearest R, A, S axes. Then the patient's right, and in sagittal planes
    the front, is on the left (radiological convention); up is front or head.
    """

    grid: Grid
    at: tuple[int, int, int]

    @classmethod
    def of(cls, grid: Grid, at: Any = None) -> "Cut":
        """Cut through voxel `at` of the array, by default its middle."""
        middle = np.asarray(grid.shape) // 2 if at is None else np.asarray(at)
        i, j, k = np.clip(middle, 0, np.asarray(grid.shape) - 1)
        return cls(grid, (int(i), int(j), int(k)))

    @property
    def turns(self) -> np.ndarray:
        """For each array axis the R, A, S axis it becomes, and whether it flips."""
        return np.asarray(nib.io_orientation(self.grid.affine))

    @property
    def spacing(self) -> np.ndarray:
        """Mm along R, A, S."""
        spacing = np.empty(3)
        spacing[self.turns[:, 0].astype(int)] = self.grid.spacing
        return spacing

    def size(self, cut_axis: int) -> tuple[float, float]:
        """Width and height of a plane, mm."""
        shape = np.empty(3)
        shape[self.turns[:, 0].astype(int)] = self.grid.shape
        width, height = np.delete(shape * self.spacing, cut_axis)
        return float(width), float(height)

    def plane(self, array: np.ndarray, cut_axis: int) -> np.ndarray:
        """Return `(rows, columns[, C])` of `(D, H, W[, C])`; row 0 is at the bottom."""
        index = np.empty(3, int)
        for axis, (ras, flip) in enumerate(self.turns):
            here = self.at[axis]
            index[int(ras)] = here if flip > 0 else self.grid.shape[axis] - 1 - here
        turned = nib.apply_orientation(array, self.turns)
        return np.asarray(turned.take(index[cut_axis], axis=cut_axis).swapaxes(0, 1))

    def vectors(self, displacement: np.ndarray) -> np.ndarray:
        """Return `(D, H, W, 3)` voxel vectors as mm along R, A, S."""
        turned = np.empty(displacement.shape, "float32")
        for axis, (ras, flip) in enumerate(self.turns):
            turned[..., int(ras)] = displacement[..., axis] * flip * self.grid.spacing[axis]
        return turned

    def extent(self, cut_axis: int) -> tuple[float, float, float, float]:
        """Edges of the picture in mm; voxel `i` is centred at `i` times its spacing."""
        (width, height), (dx, dy) = self.size(cut_axis), np.delete(self.spacing, cut_axis)
        return (-dx / 2, width - dx / 2, -dy / 2, height - dy / 2)


def add_plane(figure: Any, box: tuple[float, float, float, float], cut: Cut, axis: int) -> Any:
    """Return axes in mm for one plane, with the letter of its left edge."""
    axes = add_panel(figure, box)
    left, right, bottom, top = cut.extent(axis)
    axes.set_xlim(right, left)  # larger R (or A) on the left
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    letter = next(letter for _, cut_axis, letter in PLANES if cut_axis == axis)
    where = {"transform": axes.transAxes, "ha": "left", "va": "center"}
    axes.text(0.015, 0.5, letter, color=MUTED, fontsize=7, **where)
    return axes


def show(axes: Any, cut: Cut, array: np.ndarray, axis: int, **style: Any) -> Any:
    """Draw one plane of an image `(D, H, W)` in grey, or `(D, H, W, 3)` in colour."""
    style = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "bilinear", **style}
    image = cut.plane(array, axis)
    return axes.imshow(image, origin="lower", extent=cut.extent(axis), **style)


def middle(labels: np.ndarray) -> list[int] | None:
    """Return the voxel in the middle of the labels, so that planes meet them; None without any.

    Example:
        ```python
        >>> middle(np.pad(np.ones((2, 2, 3), int), 2))
        [2, 2, 3]
        ```
    """
    places = np.nonzero(labels)
    return [round(float(axis.mean())) for axis in places] if places[0].size else None


def checkerboard(a: np.ndarray, b: np.ndarray, tiles: int = 7) -> np.ndarray:
    """Alternate blocks of `a` and `b`: where they are aligned, edges continue across the blocks.

    Args:
        a: `(D, H, W)`, in [0, 1] as `window` gives it.
        b: an array of the same shape.
        tiles: blocks along the longest axis.

    Raises:
        ValueError: the shapes differ.

    Example:
        ```python
        >>> checkerboard(np.zeros((4, 4, 4)), np.ones((4, 4, 4)), tiles=2)[0, 0].tolist()
        [0.0, 0.0, 1.0, 1.0]
        ```
    """
    if a.shape != b.shape:
        raise ValueError(f"`a` and `b` must have the same shape. Received: {a.shape} and {b.shape}")
    block = max(1, -(-max(a.shape) // tiles))
    i, j, k = np.ogrid[tuple(slice(n) for n in a.shape)]
    odd = (i // block + j // block + k // block) % 2
    return np.where(odd, b, a)


def label_contours(
    axes: Any,
    cut: Cut,
    labels: np.ndarray,
    axis: int,
    colour: str | None = None,
    width: float = 0.7,
) -> None:
    """Draw the outline of every label of a plane, each in its colour or all in one.

    Args:
        axes: axes in mm, as `add_plane` makes them.
        cut: where the planes lie.
        labels: `(D, H, W)` integers; 0 has no outline.
        axis: which plane, by the R, A, S axis it cuts.
        colour: one colour for all labels; the default is one colour per label.
        width: width of the line in points.
    """
    plane = cut.plane(labels, axis)
    colours = label_colours(int(labels.max(initial=0)) + 1)
    # a border of background closes outlines at the picture's edge
    left, right, bottom, top = cut.extent(axis)
    dy, dx = (top - bottom) / plane.shape[0], (right - left) / plane.shape[1]
    x = left + dx * (np.arange(plane.shape[1] + 2) - 0.5)
    y = bottom + dy * (np.arange(plane.shape[0] + 2) - 0.5)
    for label in np.unique(plane[plane > 0]):
        shape = np.pad(plane == label, 1).astype("float32")
        line = colour or tuple(colours[label])
        axes.contour(x, y, shape, levels=[0.5], colors=[line], linewidths=width)


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
