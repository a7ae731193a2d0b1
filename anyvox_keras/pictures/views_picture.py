"""Synthetic label maps and their views."""

from typing import Any

import numpy as np

from anyvox_keras.pictures._style import add_panel, add_text, label_colours, new_figure

ROWS = ("label map", "view 1", "view 2")


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
    figure = new_figure(side + count * (width + gap) + gap, 3 * (height + gap) + gap)
    palette = label_colours(int(labels.max()) + 1)
    for row, (name, stack) in enumerate(zip(ROWS, stacks, strict=True)):
        top = gap + row * (height + gap)
        style = {"rotation": 90, "ha": "center"}
        add_text(figure, side / 2 + gap / 2, top + height / 2, name, **style)
        for column in range(count):
            box = (side + gap + column * (width + gap), top, width, height)
            plane = stack[column, labels.shape[1] // 2]
            axes = add_panel(figure, box)
            if row == 0:
                axes.imshow(palette[plane], interpolation="nearest")
            else:
                axes.imshow(plane, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    return figure
