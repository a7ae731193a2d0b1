"""Pictures in rows: features of volumes, the two views, cases with their labels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from anyvox_keras.geometry.grid import Grid
from anyvox_keras.pictures import drawing

ROWS = ("label map", "view 1", "view 2")


def feature_picture(
    images: Sequence[np.ndarray],
    features: Sequence[np.ndarray],
    grid: Grid | None = None,
    titles: Sequence[str] | None = None,
    masks: Sequence[np.ndarray | None] | None = None,
    at: Sequence[int] | None = None,
) -> Any:
    """Draw each image and, below it, its features in the colours of a joint PCA.

    Args:
        images: arrays `(D, H, W)` of the same shape.
        features: arrays `(D, H, W, C)`, one per image.
        grid: their common lattice.
        titles: one per image.
        masks: where features are shown, one per image.
        at: voxel through which the planes pass.

    Returns:
        A matplotlib `Figure`.

    Example:
        ```python
        >>> noise = np.random.default_rng(0).normal(size=(6, 6, 6, 4))
        >>> figure = feature_picture([noise[..., 0]], [noise])
        ```
    """
    names = list(titles or [f"image {index + 1}" for index in range(len(images))])
    rows, lines = [], []
    colours = feature_pca(features, masks)
    for name, image, colour in zip(names, images, colours, strict=True):
        rows += [np.repeat(drawing.window(image)[..., None], 3, -1), colour]
        lines += [name, f"{name}: features, three principal components of all images"]
    return drawing.planes(rows, grid, lines, at)


def feature_pca(
    features: Sequence[np.ndarray],
    masks: Sequence[np.ndarray | None] | None = None,
    samples: int = 50_000,
) -> list[np.ndarray]:
    """Show features of several images in common colours: equal features, equal colour.

    Principal components of all images' voxels together, the first three as red, green and blue,
    each scaled between its 1st and 99th percentile.

    Args:
        features: arrays `(D, H, W, C)`, C >= 3, of any sizes.
        masks: `(D, H, W)` each; voxels outside are black and do not count.
        samples: voxels per image that the components are computed from, evenly spaced.

    Returns:
        float32 arrays `(D, H, W, 3)` in [0, 1].

    Raises:
        ValueError: fewer than three channels, or unequal channel counts.

    Example:
        ```python
        >>> noise = np.random.default_rng(0).normal(size=(4, 4, 4, 8))
        >>> feature_pca([noise, noise])[1].shape
        (4, 4, 4, 3)
        ```
    """
    channels = {array.shape[-1] for array in features}
    if len(channels) != 1 or min(channels) < 3:
        raise ValueError(
            "`features` must have the same number of channels, at least 3. "
            f"Received: {sorted(channels)}"
        )
    masks = [None] * len(features) if masks is None else masks
    insides = [_inside(f, m) for f, m in zip(features, masks, strict=True)]
    pooled = np.concatenate([_thin(f[m], samples) for f, m in zip(features, insides, strict=True)])
    mean, axes = _principal_axes(pooled.astype("float64"))
    low, high = np.percentile((pooled - mean) @ axes, [1, 99], axis=0)
    span = np.maximum(high - low, 1e-12)
    colours = [np.clip(((f - mean) @ axes - low) / span, 0, 1) for f in features]
    return [
        (colour * inside[..., None]).astype("float32")
        for colour, inside in zip(colours, insides, strict=True)
    ]


def _inside(features: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return np.ones(features.shape[:3], bool) if mask is None else np.asarray(mask) > 0


def _thin(rows: np.ndarray, samples: int) -> np.ndarray:
    return rows[:: max(1, len(rows) // samples)]


def _principal_axes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and `(C, 3)` axes; each axis's largest loading is positive."""
    mean = rows.mean(0)
    _, vectors = np.linalg.eigh(np.cov(rows - mean, rowvar=False))
    axes = vectors[:, ::-1][:, :3]
    signs = np.sign(axes[np.abs(axes).argmax(0), range(3)])
    return mean, axes * signs


def views_picture(
    label_maps: np.ndarray, view1: np.ndarray, view2: np.ndarray, width: float = 1.7
) -> Any:
    """Draw the middle plane of synthetic samples: one column each; label map, view 1, view 2.

    Args:
        label_maps: `(B, D, H, W)` integers.
        view1: `(B, D, H, W)` or `(B, D, H, W, 1)`, in [0, 1].
        view2: the same shape as `view1`.
        width: width of a panel in inches.

    Returns:
        A matplotlib `Figure`.

    Example:
        ```python
        >>> views = np.random.default_rng(0).uniform(size=(2, 8, 8, 8, 1))
        >>> figure = views_picture(np.zeros((2, 8, 8, 8), int), views, views)
        >>> len(figure.axes)
        6
        ```
    """
    labels = np.asarray(label_maps)
    stacks = [labels, *(np.asarray(v).reshape(labels.shape) for v in (view1, view2))]
    gap, side = 0.06, 0.3
    height = width * labels.shape[2] / labels.shape[3]
    count = len(labels)
    figure = drawing.new_figure(side + count * (width + gap) + gap, 3 * (height + gap) + gap)
    palette = drawing.label_colours(int(labels.max()) + 1)
    for row, (name, stack) in enumerate(zip(ROWS, stacks, strict=True)):
        top = gap + row * (height + gap)
        style = {"rotation": 90, "ha": "center"}
        drawing.add_text(figure, side / 2 + gap / 2, top + height / 2, name, **style)
        for column in range(count):
            box = (side + gap + column * (width + gap), top, width, height)
            plane = stack[column, labels.shape[1] // 2]
            axes = drawing.add_panel(figure, box)
            if row == 0:
                axes.imshow(palette[plane], interpolation="nearest")
            else:
                axes.imshow(plane, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    return figure


class CasePicture(NamedTuple):
    """A row of the picture: an image, the labels found and the true ones, on one grid."""

    title: str
    image: np.ndarray
    found: np.ndarray
    expected: np.ndarray
    grid: Grid


def cases_picture(cases: Sequence[CasePicture], width: float = 2.4) -> Any:
    """Draw axial, coronal and sagittal planes of cases, one per row, through their labels' centre.

    Args:
        cases: the cases to show, such as the best, the median and the worst.
        width: width of a plane's box in inches.

    Returns:
        A matplotlib `Figure`; `save_figure` writes it.

    Example:
        ```python
        >>> box = np.pad(np.ones((4, 4, 4), int), 2)
        >>> row = CasePicture("a", box * 1.0, box, box, Grid((8, 8, 8), np.eye(4)))
        >>> len(cases_picture([row]).axes)
        3
        ```
    """
    gap, head, foot = 0.08, 0.3, 0.3
    figure = drawing.new_figure(3 * (width + gap) + gap, len(cases) * (width + head) + foot)
    for row, case in enumerate(cases):
        cut = drawing.Cut.of(case.grid, drawing.middle(case.expected))
        top = row * (width + head) + head
        drawing.add_text(figure, gap, top - head / 2, case.title)
        scale = width / max(max(cut.size(axis)) for _, axis, _ in drawing.PLANES)
        for column, (_, axis, _) in enumerate(drawing.PLANES):
            wide, high = (side * scale for side in cut.size(axis))
            left = gap + column * (width + gap) + (width - wide) / 2
            axes = drawing.add_plane(
                figure, (left, top + (width - high) / 2, wide, high), cut, axis
            )
            drawing.show(axes, cut, drawing.window(case.image), axis)
            drawing.label_contours(axes, cut, case.expected, axis, colour=drawing.TEXT, width=0.45)
            drawing.label_contours(axes, cut, case.found, axis, width=1.0)
    height = figure.get_size_inches()[1]
    words = "White outlines are the true labels, colours those found. R, A on the left."
    drawing.add_text(figure, gap, height - foot / 2, words, color=drawing.MUTED, fontsize=7)
    return figure
