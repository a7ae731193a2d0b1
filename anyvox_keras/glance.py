"""What a thing shows of itself: in a notebook, a terminal, or a page of its own."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Glance:
    """What one should see of a thing first; `pictures.notebook` draws it.

    Args:
        title: What it is.
        facts: Names and values of a table.
        images: Name to array on one grid: `(D, H, W)` grey values, integers (label maps, in
            colours), or `(D, H, W, 3)` colours in [0, 1].
        affine: `(4, 4)`, voxel to world, mm, RAS; the default is voxels of 1 mm.
        labels: Label map whose outlines lie over the images.
        names: What its labels are called.
        figure: Draws another picture than three planes of the images.
        page: Makes another page to look through than these images and facts.
    """

    title: str
    facts: Sequence[tuple[str, Any]] = ()
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    affine: np.ndarray | None = None
    labels: np.ndarray | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    figure: Callable[[], Any] | None = None
    page: Callable[[], Any] | None = None


class Shown:
    """A thing that shows itself: the last line of a notebook's cell is a picture and a table.

    Subclasses write `glance`. Nothing is drawn, and nothing that draws is loaded, before.
    """

    def glance(self) -> Glance:
        """Return what one should see of it first."""
        raise NotImplementedError

    def show(self) -> Path | None:
        """Show it with a viewer to look through: planes, slider, overlays, tables.

        In a notebook the viewer appears below the cell; it needs no extension and no network.
        Elsewhere it is a page in the browser.

        Returns:
            The page's file, where there is no notebook.
        """
        shown: Path | None = _notebook().show(self.glance())
        return shown

    def _repr_html_(self) -> str:
        """A picture and a table, which Jupyter asks for."""
        html: str = _notebook().html(self.glance())
        return html


def _notebook() -> Any:
    # by name, since pictures know of volumes, and volumes of no pictures
    return importlib.import_module("anyvox_keras.pictures.notebook")
