"""Things as a notebook shows them: a picture and a table, or a viewer."""

import sys
import tempfile
import webbrowser
from html import escape
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from anyvox_keras.geometry import Grid
from anyvox_keras.glance import Glance
from anyvox_keras.pictures import drawing
from anyvox_keras.pictures.html_page import Page, Table, cell_text, data_uri, webp
from anyvox_keras.pictures.html_viewer import Viewer

# pixels: of the picture in a notebook, and the height of the viewer below a cell
_WIDTH, _HEIGHT = 900, 720


def html(glance: Glance) -> str:
    """Return the picture and the table as a piece of HTML.

    Args:
        glance: What is shown.

    Example:
        ```python
        import numpy as np
        from anyvox_keras.glance import Glance

        html(Glance("noise", [("seed", 0)], {"noise": np.random.rand(8, 8, 8)}))
        ```
    """
    rows = "".join(
        f"<tr><td style='text-align:left'>{escape(name)}</td>"
        f"<td style='text-align:left'>{escape(cell_text(value))}</td></tr>"
        for name, value in glance.facts
    )
    picture = figure(glance)
    image = "" if picture is None else _image(picture, glance.title)
    return f"<div><b>{escape(glance.title)}</b>{image}<table>{rows}</table></div>"


def _image(picture: Any, title: str) -> str:
    source = data_uri(webp(picture, _WIDTH))
    return f'<br><img alt="{escape(title)}" style="max-width:100%" src="{source}">'


def figure(glance: Glance) -> Any:
    """Draw the picture, a matplotlib `Figure`, if there is anything to draw.

    Args:
        glance: What is shown.
    """
    if glance.figure is not None:
        return glance.figure()
    if not glance.images:
        return None
    # where there are labels, the planes meet them
    labels = [x for x in (glance.labels, *glance.images.values()) if _is_label_map(x)]
    at = drawing.middle(labels[0]) if labels else None
    names, arrays = list(glance.images), [_coloured(x) for x in glance.images.values()]
    return drawing.planes(arrays, _grid(glance), names, at, glance.labels)


def page(glance: Glance) -> Page:
    """Return the page that `show` opens.

    Args:
        glance: What is shown.
    """
    if glance.page is not None:
        made: Page = glance.page()
        return made
    maps = {name: x for name, x in glance.images.items() if _is_label_map(x)}
    if glance.labels is not None:
        maps = {"labels": glance.labels, **maps}
    colours = {name: x for name, x in glance.images.items() if x.ndim == 4}
    grey = {n: x for n, x in glance.images.items() if n not in maps and n not in colours}
    if maps and not grey:
        grey = {name: (x > 0).astype("float32") for name, x in maps.items()}
    viewer = Viewer(_grid(glance), grey, maps, glance.names, colours=colours) if grey else None
    table = Table("What it is", ("", ""), [(name, cell_text(x)) for name, x in glance.facts])
    return Page(glance.title, tables=[table], viewer=viewer, picture=figure(glance))


def show(glance: Glance) -> Path | None:
    """Show the page below the notebook's cell, or else in the browser.

    Args:
        glance: What is shown.

    Returns:
        The page's file, where there is no notebook.
    """
    text = page(glance).html()
    if _in_notebook():
        from IPython.display import display

        frame = f'<iframe srcdoc="{escape(text)}" width="100%" height="{_HEIGHT}"></iframe>'
        display({"text/html": frame}, raw=True)
        return None
    path = Path(tempfile.mkdtemp(prefix="anyvox-")) / "show.html"
    path.write_text(text, encoding="utf-8")
    webbrowser.open(path.as_uri())
    return path


def _in_notebook() -> bool:
    """Whether a notebook's kernel runs this; IPython in a terminal shows no HTML."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _grid(glance: Glance) -> Grid:
    shape = next(iter(glance.images.values())).shape[:3]
    return Grid(shape, np.eye(4) if glance.affine is None else glance.affine)


def _is_label_map(array: np.ndarray | None) -> TypeGuard[np.ndarray]:
    return array is not None and array.ndim == 3 and array.dtype.kind in "iub"


def _coloured(array: np.ndarray) -> np.ndarray:
    """Label maps in colours; anything else as it is."""
    if not _is_label_map(array):
        return array
    array = array.astype("int32")
    return drawing.label_colours(int(array.max(initial=0)) + 1)[array]
