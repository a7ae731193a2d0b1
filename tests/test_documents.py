"""The python blocks of README and of docs/ run in order: README's on every backend."""

import re
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = {
    str(page.relative_to(ROOT)): FENCE.findall(page.read_text(encoding="utf-8")) for page in PAGES
}


def test_readme_has_its_snippets():
    assert len(BLOCKS["README.md"]) == 3


@pytest.mark.parametrize("page", [name for name, blocks in BLOCKS.items() if blocks])
def test_python_blocks_run(page, tmp_path, monkeypatch):
    if page != "README.md" and keras.backend.backend() != "torch":
        pytest.skip("pages run on torch, where nothing is compiled first")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for number, block in enumerate(BLOCKS[page], 1):
        exec(compile(block, f"{page}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_machine_path(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(home|root|work|tmp|Users)/", text)
