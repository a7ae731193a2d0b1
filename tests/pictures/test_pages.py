"""Pages of results, in a browser where there is one."""

import hashlib
import json
import re
from html.parser import HTMLParser

import keras
import numpy as np
import pytest
from browser import CHROMIUM, browser

import anyvox_keras.pictures as pictures
from anyvox_keras.geometry import Grid
from anyvox_keras.pictures import Link, Page, Table, Viewer, warped_lines
from anyvox_keras.pictures.html_page import _asset
from anyvox_keras.pictures.html_viewer import small_grid

READY = "document.body && document.body.dataset.ready === 'yes'"
SHAPE = (20, 24, 16)
GRID = Grid(SHAPE, np.array([[-2.0, 0, 0, 10], [0, 0, 3, -20], [0, 2, 0, -30], [0, 0, 0, 1]]))

in_browser = pytest.mark.skipif(
    CHROMIUM is None or keras.backend.backend() != "torch",
    reason="needs chromium; once is enough, a page being the same on every backend",
)


def ball(centre):
    axes = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    distance = sum((x - c) ** 2 for x, c in zip(axes, centre, strict=True))
    return np.exp(-distance / 30.0).astype("float32")


@pytest.fixture(scope="module")
def page():
    fixed, moving = ball((8, 10, 7)), ball((12, 14, 9))
    shift = np.zeros((*SHAPE, 3), "float32")
    viewer = Viewer(
        GRID,
        {"fixed": fixed, "moving": moving, "moved": 1 - fixed},
        {"labels": 7 * (fixed > 0.4).astype("int32")},
        {7: "<b>liver</b> & </script>"},
        {
            "grid": (warped_lines(shift, GRID), 0.0, 3.0, "lines"),
            "mm": (fixed, 0.0, 2.0, "growing"),
        },
        {"features": np.stack([fixed, moving, fixed], -1)},
        [GRID.to_world(np.array([8.0, 10.0, 7.0])).tolist()],
    )  # fmt: skip
    rows = [(f"label {k}", float(k % 7), None if k % 5 else 1) for k in range(20)]
    tables = [
        Table("Labels", ("label", "Dice", "more"), rows),
        Table("Points", ("point", "mm"), [(Link("one", "#point-0"), 2.0)]),
    ]
    figure = pictures.planes(fixed, GRID)
    return Page("a <to> b", "Dice 1", "WARN", ["look & see"], tables, viewer, figure, "anyvox x")


class Balanced(HTMLParser):
    """Raises where a tag is closed that is not open."""

    VOID = ("meta", "input", "img", "link", "br")

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_is_one_sound_file(page):
    text = page.html()
    parser = Balanced()
    parser.feed(text)
    assert not parser.open
    assert "a &lt;to&gt; b" in text
    assert len(text) < 8e6
    own = text.replace(_asset("niivue.umd.js"), "")
    assert not re.findall(r"(?:src|href)=[\"'](?:https?:)?//", own)
    volumes = re.search(r'id="volumes">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(volumes)["labels"][0]["name"] == "<b>liver</b> & </script>"


def test_the_viewer_is_the_published_one():
    digest = hashlib.sha256(_asset("niivue.umd.js").encode()).hexdigest()
    assert digest == "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
    assert "Copyright (c) 2021, Niivue" in _asset("NIIVUE_LICENSE.txt")


def test_volumes_keep_their_field_of_view_in_a_million_voxels():
    grid = Grid((300, 200, 40), np.diag([0.5, 0.5, 3.0, 1.0]))
    small = small_grid(grid)
    assert np.prod(small.shape) <= 2**20
    np.testing.assert_allclose(small.centre, grid.centre)
    extent = [np.multiply(g.shape, g.spacing) for g in (small, grid)]
    np.testing.assert_allclose(*extent)
    assert small_grid(GRID) is GRID


def test_lines_of_the_grid_move_with_the_map():
    shift = np.zeros((*SHAPE, 3), "float32")
    still = warped_lines(shift, GRID)
    shift[..., 0] = 1.0
    np.testing.assert_array_equal(warped_lines(shift, GRID)[:-1], still[1:])
    assert 0.0 < still.mean() < 1.5


@in_browser
def test_a_page_in_the_browser(page, tmp_path):
    """Loads from file://, asks nothing of the network, and every control changes the picture."""
    path = tmp_path / "report.html"
    path.write_text(page.html(), encoding="utf-8")

    def set_value(name, value):
        tab.run(f"(e => {{ e.value = {value!r}; e.dispatchEvent(new Event('input')) }})"
                f"(document.getElementById({name!r}))")  # fmt: skip
        tab.run("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")

    with browser(900, 700) as tab:
        tab.open(path, READY)
        seen = [tab.shot("#canvas")]
        for name, value in (
            ("blend", "1"), ("blend", "2"), ("compare", "checker"), ("high", "50"),
            ("overlay", "0"), ("overlay", "1"), ("overlay", "3"), ("opacity", "0.1"), ("x", "0.2"),
            ("view", "0"),
        ):  # fmt: skip
            set_value(name, value)
            seen.append(tab.shot("#canvas"))
            assert (seen[-1] != seen[-2]).mean() > 0.002, f"{name} {value} changed nothing"
        set_value("overlay", "0")
        set_value("opacity", "1")
        filled = tab.shot("#canvas")
        tab.run("document.getElementById('outline').click()")
        tab.run("new Promise(r => setTimeout(r, 200))")
        assert (tab.shot("#canvas") != filled).mean() > 0.002
        tab.run("document.querySelector('a[href=\"#point-0\"]').click()")
        assert "<b>liver</b> & </script>" in tab.run("document.getElementById('place').textContent")

        tab.run("document.querySelector('#results th:nth-child(2) button').click()")
        numbers = "[...document.querySelectorAll('#results tbody')[0].rows].map(r => %s)"
        values = tab.run(numbers % "Number(r.cells[1].dataset.value)")
        assert values == sorted(values)
        tab.run("(e => { e.value = 'label 1'; e.dispatchEvent(new Event('input')) })"
                "(document.querySelector('.filter'))")  # fmt: skip
        assert tab.run(numbers % "r.hidden" + ".filter(h => !h).length") == 11

        before = tab.run("getComputedStyle(document.body).backgroundColor")
        tab.run("document.getElementById('theme').click()")
        assert tab.run("getComputedStyle(document.body).backgroundColor") != before

        nodes = tab.ask("Accessibility.getFullAXTree")["nodes"]
        roles = ("slider", "combobox", "checkbox", "button", "link", "searchbox")
        controls = [n for n in nodes if n.get("role", {}).get("value") in roles]
        assert len(controls) > 15
        assert all(n["name"]["value"] for n in controls if not n["ignored"])
        unreachable = "[...document.querySelectorAll('button,input,select,canvas')]"
        assert tab.run(f"{unreachable}.filter(e => e.tabIndex < 0).length") == 0
        assert tab.complaints() == []


@in_browser
@pytest.mark.parametrize(("count", "chosen"), [(1, "0"), (2, "")])
def test_a_single_image_opens_with_what_lies_over_it(tmp_path, count, chosen):
    images = {f"image {n}": np.zeros(SHAPE, "float32") for n in range(count)}
    colours = {"features": np.ones((*SHAPE, 3), "float32")}
    path = tmp_path / "report.html"
    path.write_text(Page("a", "", viewer=Viewer(GRID, images, colours=colours)).html())
    with browser(900, 700) as tab:
        tab.open(path, READY)
        assert tab.run("document.getElementById('overlay').value") == chosen
        tab.run("new Promise(r => setTimeout(r, 200))")
        white = (tab.shot("#canvas") > 150).all(-1).mean()
        assert (white > 0.05) == (count == 1), white
        assert tab.complaints() == []


@in_browser
def test_without_webgl_the_planes_are_shown(page, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page.html(), encoding="utf-8")
    with browser(900, 700, "--disable-3d-apis") as tab:
        tab.open(path, "document.getElementById('viewer')?.hidden")
        assert tab.run("document.querySelector('#planes img').getBoundingClientRect().height") > 99
        assert tab.complaints() == []
