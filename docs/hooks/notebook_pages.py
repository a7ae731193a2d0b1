"""Pages of the notebooks in examples/, with the outputs they are stored with.

A notebook is JSON: its text, code and outputs become a page here without nbconvert and its thirty
dependencies.
"""

import json
from html import escape
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"
FOLDER = "notebooks"


def page(path: Path) -> str:
    """Return a notebook as Markdown, pictures and all."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = [part for cell in cells for part in _cell(cell)]
    parts.insert(1, f"*Made by `examples/notebooks/{path.name}`, which runs as it is.*")
    return "\n\n".join(parts) + "\n"


def _cell(cell: dict[str, Any]) -> list[str]:
    source = _joined(cell["source"])
    if cell["cell_type"] == "markdown":
        # from where the notebook lies to where its page lies
        return source.replace("](../../docs/", "](../").split("\n\n")
    outputs = [shown for output in cell["outputs"] if (shown := _output(output))]
    return [f"```python\n{source}\n```", *outputs]


def _output(output: dict[str, Any]) -> str:
    """The richest of what was shown; progress and warnings on stderr are left out."""
    if output.get("name") == "stdout":
        return _text(output["text"])
    data = output.get("data", {})
    if "text/html" in data:
        return f'<div class="output">{_joined(data["text/html"])}</div>'.replace("\n", " ")
    if "image/png" in data:
        png = _joined(data["image/png"]).replace("\n", "")
        return f'<img alt="the figure that the cell above makes" src="data:image/png;base64,{png}">'
    return _text(data["text/plain"]) if "text/plain" in data else ""


def _text(text: str | list[str]) -> str:
    return f"<pre>{escape(_joined(text).rstrip())}</pre>".replace("\n", "<br>")


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def on_files(files: Any, config: Any) -> Any:
    """Hook of MkDocs: add the pages."""
    from mkdocs.structure.files import File

    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        files.append(File.generated(config, f"{FOLDER}/{path.stem}.md", content=page(path)))
    return files
