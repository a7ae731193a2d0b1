"""Results show themselves in a notebook, as IPython asks for it."""

import base64
import io
import re
import webbrowser

import keras
import numpy as np
import pytest
from browser import CHROMIUM, browser
from PIL import Image

import anyvox_keras as avx
from anyvox_keras.geometry import Volume, Warp
from anyvox_keras.pictures import notebook, planes
from anyvox_keras.segmentation import Prediction

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="once is enough: what is shown is computed elsewhere"
)
AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])
NOISE = np.random.default_rng(0).random((16, 18, 20)).astype("float32")
LABELS = np.zeros(NOISE.shape, "int32")
LABELS[2:7, 3:9, 4:8] = 3


def stream():
    return avx.SyntheticStream(avx.TemplateBank.geometric(8, side=16), side=16, seed=7)


def registration():
    volume = Volume(NOISE, AFFINE, name="folder/t1.nii.gz")
    return avx.Registration(volume, volume, np.zeros((*NOISE.shape, 3)), seconds=2.5)


#: makes it, and a row of its table that arithmetic tells
SHOWN = [
    (lambda: Volume(NOISE, AFFINE), ("field of view, mm", "32 x 54 x 80")),
    (lambda: Volume(LABELS, AFFINE), ("labels", "2: 0, 3")),
    (lambda: Warp(np.full((*NOISE.shape, 3), 2.0), Volume(NOISE, AFFINE).grid),
     ("moves by, mm", "3.464 on average, at most 3.464")),
    (lambda: Prediction(LABELS, AFFINE, image=NOISE, names={3: "a <liver>"}),
     ("a &lt;liver&gt;, ml", "2.88")),
    (registration, ("folds", "0.000 %")),
    (stream, ("pair", "0 of seed 7, split train")),
]  # fmt: skip


@pytest.mark.parametrize(("make", "row"), SHOWN)
def test_a_cell_shows_a_picture_and_a_table(make, row):
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    formatter.active_types = ["text/plain", "text/html"]
    thing = make()
    shown, _ = formatter.format(thing)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", shown["text/html"])
    assert dict(zip(cells[::2], cells[1::2], strict=True))[row[0]] == row[1]
    picture = re.search(r"data:image/webp;base64,([\w+/=]+)", shown["text/html"])[1]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
    assert pixels.std() > 10
    assert len(shown["text/html"]) < 400_000
    text = shown["text/plain"]
    assert text.startswith(type(thing).__name__)
    assert len(text) < 200
    assert "0x" not in text


def test_figures_show_themselves():
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    formatter.active_types = ["image/png"]
    shown, _ = formatter.format(planes(NOISE))
    assert shown["image/png"].startswith(b"\x89PNG")


def test_a_label_map_is_shown_where_its_labels_are():
    """The planes pass through the labels, whose outlines are coloured."""
    glance = Prediction(LABELS, AFFINE, image=np.zeros_like(NOISE)).glance()
    figure = notebook.figure(glance)
    assert [len(axes.collections) for axes in figure.axes] == [1, 1, 1]


def test_show_opens_a_page(monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    path = registration().show()
    assert opened == [path.as_uri()]
    text = path.read_text(encoding="utf-8")
    assert "t1.nii.gz to t1.nii.gz" in text
    assert 'id="volumes"' in text


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_show_in_a_notebook_is_a_viewer_below_the_cell(monkeypatch, tmp_path):
    displayed, shown = pytest.importorskip("IPython.display"), []
    monkeypatch.setattr(displayed, "display", lambda data, raw: shown.append(data["text/html"]))
    monkeypatch.setattr(notebook, "_in_notebook", lambda: True)
    assert Volume(NOISE, AFFINE).show() is None
    cell = tmp_path / "cell.html"
    cell.write_text(f"<!doctype html>{shown[0]}", encoding="utf-8")
    inside = "document.querySelector('iframe')?.contentDocument?.body"
    with browser(900, 800) as tab:
        tab.open(cell, f"{inside}?.dataset.ready === 'yes'")
        assert tab.complaints() == []
        assert tab.shot("iframe").std() > 10
