"""A labelled scan, ready to cut crops from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from anyvox_keras.errors import UserError
from anyvox_keras.geometry import Volume, min_max, require_same_grid, resample_to
from anyvox_keras.io import load_labels, load_volume
from anyvox_keras.segmentation.dataset import CaseFiles


@dataclass(frozen=True, eq=False)
class Case:
    """An image and its labels on the working grid.

    Args:
        name: What to call it.
        image: `(D, H, W)` float32, min-max normalised to [0, 1].
        label_map: `(D, H, W)` int32.

    Raises:
        ValueError: If the shapes differ.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.segmentation import Case

        case = Case("a", np.random.rand(9, 8, 7).astype("float32"), np.ones((9, 8, 7), "int32"))
        ```
    """

    name: str
    image: np.ndarray
    label_map: np.ndarray

    def __post_init__(self) -> None:
        """Refuse what does not fit."""
        if self.image.shape != self.label_map.shape or self.image.ndim != 3:
            raise ValueError(
                f"`image` and `label_map` must both be (D, H, W). Received: {self.image.shape} "
                f"and {self.label_map.shape}"
            )

    @cached_property
    def labels(self) -> list[int]:
        """Labels that occur."""
        return [int(label) for label in np.unique(self.label_map)]

    @cached_property
    def places(self) -> dict[int, np.ndarray]:
        """Flat voxel numbers of each label that occurs."""
        return {label: np.flatnonzero(self.label_map == label) for label in self.labels}


def load_case(files: CaseFiles, spacing: Sequence[float] | None = None) -> Case:
    """Read a case, and bring it to the working grid: image linearly, labels by nearest.

    Args:
        files: Of the case.
        spacing: Mm along R, A, S; None keeps the scan's.

    Raises:
        UserError: A file that can't be used, labels that are not integers, image and labels on
            different grids.
    """
    image, labels = load_volume(files.image), load_labels(files.labels)
    require_same_grid(labels, image)
    # Headers of one scan differ by rounding: the image's counts.
    labels = Volume(labels.array, image.affine, labels.header, None, labels.name)
    grid = image.grid.to_ras(spacing)
    return Case(
        files.name,
        min_max(resample_to(image, grid).array),
        resample_to(labels, grid).array.astype("int32"),
    )


def count_classes(
    training: Sequence[Case],
    validation: Sequence[Case],
    names: Sequence[str],
    ignore_label: int | None = None,
) -> int:
    """Return how many classes there are beside the background.

    Args:
        training: Cases to learn from.
        validation: Cases that choose the best weights.
        names: Names of labels 1, 2 ...; empty: as many as the largest training label.
        ignore_label: A label that is no class.

    Raises:
        UserError: A class that no training case has, or a label that is no class.
    """
    present = {label for case in training for label in case.labels} - {0, ignore_label}
    classes = len(names) or max(present, default=0)
    wanted = set(range(1, classes + 1))
    if not wanted:
        raise UserError("training labels: expected at least one class, received background alone")
    if absent := sorted(wanted - present):
        raise UserError(f"training labels: no training case has label {absent[0]} of 1..{classes}")
    for case in [*training, *validation]:
        if beyond := sorted(set(case.labels) - wanted - {0, ignore_label}):
            raise UserError(f"{case.name}: expected labels 0..{classes}, received {beyond[0]}")
    return classes
