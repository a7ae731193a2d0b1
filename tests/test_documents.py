"""The python blocks of README and of docs/ run in order: README's on every backend."""

import ast
import re
from functools import cache
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = {
    str(page.relative_to(ROOT)): FENCE.findall(page.read_text(encoding="utf-8")) for page in PAGES
}


WALK = ROOT / "docs" / "contributing" / "walk.md"
#: rows of a walk's tables: a folder of the package, and a name that it defines
STEP = re.compile(r"^\| `([\w/]+)` \| `([\w.]+)` \|", re.MULTILINE)


@cache
def defined_in(folder: Path) -> set[str]:
    """Functions, classes, their members as `Class.member`, and constants below a folder."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                names |= {f"{node.name}.{m.name}" for m in node.body if hasattr(m, "name")}
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            names.add(getattr(node, "name", ""))
    return names


def test_walk_names_what_is_there():
    steps = STEP.findall(WALK.read_text(encoding="utf-8"))
    assert len(steps) > 50
    lacking = [step for step in steps if step[1] not in defined_in(ROOT / "anyvox_keras" / step[0])]
    assert not lacking


def test_every_promise_has_its_test():
    text = (ROOT / "docs/guides/reliability.md").read_text()
    named = re.findall(r"`(\S+\.py)::(\w+)`", text)
    assert len(named) > 20
    for file, name in named:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), f"{file}::{name}"


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
