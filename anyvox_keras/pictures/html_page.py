"""One page that opens anywhere: results as tables, a viewer of volumes, pictures; one file."""

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib import resources
from io import BytesIO
from typing import Any

from anyvox_keras.pictures.html_viewer import Viewer

# rows: a word filters them
_MANY = 15
#: nothing but the page itself may be loaded or asked
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; connect-src data:"
)


@dataclass(frozen=True)
class Link:
    """A cell that leads to another file, with a picture of it if there is one.

    Args:
        text: What is read.
        href: Relative path of the file.
        picture: PNG, JPEG or WebP bytes.
    """

    text: str
    href: str
    picture: bytes | None = None


@dataclass(frozen=True)
class Table:
    """A table whose columns sort, and whose rows a word filters if there are many.

    Args:
        title: Its heading.
        columns: Names of the columns.
        rows: Cells: text, numbers (drawn with at most four digits), None or `Link`.
        note: A line below the heading.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


@dataclass(frozen=True)
class Page:
    """What a report says.

    Args:
        title: What was done to what.
        summary: One line of results.
        verdict: "PASS", "WARN", "FAIL" or nothing.
        reasons: Why the verdict is no PASS.
        tables: In the order of reading.
        viewer: Volumes to look at.
        picture: A matplotlib `Figure`, shown small, and in the viewer's place where there is no
            WebGL.
        command: What makes the results again.

    Example:
        ```python
        from anyvox_keras.pictures import Page, Table

        page = Page("a scan", tables=[Table("Dice", ("label", "Dice"), [("brain", 0.9)])])
        assert "<td>brain</td>" in page.html()
        ```
    """

    title: str
    summary: str = ""
    verdict: str = ""
    reasons: Sequence[str] = ()
    tables: Sequence[Table] = field(default_factory=list)
    viewer: Viewer | None = None
    picture: Any = None
    command: str = ""

    def html(self) -> str:
        """Return the whole file."""
        parts = [
            f"<title>{escape(self.title)}</title>",
            f"<style>{_asset('page.css')}</style></head><body>",
            '<a class="skip" href="#results">To the results</a>',
            self._header(),
            "<main>",
            _asset("viewer.html") if self.viewer else "",
            self._picture(),
            '<div id="results">',
            *(_table(table) for table in self.tables),
            self._command(),
            "</div></main>",
            self._scripts(),
            "</body></html>",
        ]
        return _HEAD + "\n".join(part for part in parts if part) + "\n"

    def _header(self) -> str:
        badge = f'<span class="verdict {self.verdict}">{self.verdict}</span>' * bool(self.verdict)
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in self.reasons)
        return (
            f"<header><h1>{escape(self.title)} {badge}</h1><p>{escape(self.summary)}</p>"
            + (f"<ul>{reasons}</ul>" if reasons else "")
            + '<button id="theme" type="button">Light or dark</button></header>'
        )

    def _picture(self) -> str:
        if self.picture is None:
            return ""
        source = data_uri(webp(self.picture))
        return (
            '<details id="planes" open><summary>Planes</summary>'
            f'<img alt="Planes of the images: {escape(self.summary)}" src="{source}"></details>'
        )

    def _command(self) -> str:
        if not self.command:
            return ""
        return (
            "<section><h2>To make it again</h2>"
            f'<pre tabindex="0" aria-label="command">{escape(self.command)}</pre></section>'
        )

    def _scripts(self) -> str:
        script = f"<script>{_asset('page.js')}</script>"
        if self.viewer is None:
            return script
        # "<" would end the script wherever "</script" or "<!--" stood in a file's name
        content = json.dumps(self.viewer.content()).replace("<", "\\u003c")
        return (
            f'{script}<script type="application/json" id="volumes">{content}</script>'
            f"<!-- {_asset('NIIVUE_LICENSE.txt')} --><script>{_asset('niivue.umd.js')}</script>"
            f"<script>{_asset('viewer.js')}</script>"
        )


_HEAD = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
"""


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def _table(table: Table) -> str:
    heads = "".join(
        f'<th scope="col"><button type="button">{escape(name)}</button></th>'
        for name in table.columns
    )
    rows = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in table.rows)
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    few = " data-few" if len(table.rows) < _MANY else ""
    return (
        f"<section{few}><h2>{escape(table.title)}</h2>{note}<div class='scroll' tabindex='0' "
        f'role="region" aria-label="{escape(table.title)}"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def cell_text(value: Any) -> str:
    """Return what a cell says: numbers with at most four digits, nothing for what is unknown.

    Example:
        ```python
        >>> cell_text(0.123456), cell_text(None)
        ('0.1235', '')
        ```
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.4g}" if number else str(value)


def _cell(value: Any) -> str:
    if not cell_text(value):
        return "<td></td>"
    if isinstance(value, Link):
        image = f'<img alt="" src="{data_uri(value.picture)}">' if value.picture else ""
        return f'<td><a href="{escape(value.href)}">{image}{escape(value.text)}</a></td>'
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td class="number" data-value="{value}">{cell_text(value)}</td>'
    kind = f' class="verdict {value}"' if value in ("PASS", "WARN", "FAIL", "failed") else ""
    return f"<td{kind}>{escape(str(value))}</td>"


def made_with_tables(provenance: Mapping[str, Any]) -> Iterator[Table]:
    """Tell what results were made with: settings, files, versions.

    Args:
        provenance: See `io.provenance_of`.
    """
    if provenance.get("settings"):
        settings = [(name, str(value)) for name, value in provenance["settings"].items()]
        yield Table("Settings", ("setting", "value"), settings, "What was asked for; all else as "
                    "it comes.")  # fmt: skip
    if provenance["inputs"]:
        yield Table("Files", ("file", "SHA-256"), list(provenance["inputs"].items()))
    yield Table("Versions", ("package", "version"), list(provenance["versions"].items()))


def webp(figure: Any, width: int = 1600) -> bytes:
    """Draw a figure as WebP, a fifth of the size of a PNG.

    Args:
        figure: A matplotlib `Figure`.
        width: Pixels.
    """
    file = BytesIO()
    figure.savefig(
        file, format="webp", dpi=width / figure.get_size_inches()[0], pil_kwargs={"quality": 80}
    )
    return file.getvalue()


def data_uri(content: bytes) -> str:
    """Return the address of an image that is its own content."""
    kind = "png" if content.startswith(b"\x89PNG") else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
