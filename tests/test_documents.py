"""The python blocks of README and docs/ run in order, commands parse, names and links exist."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import click
import keras
import pytest

import anyvox_keras as avx
from anyvox_keras.cli.main import anyvox

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


CONSOLE = re.compile(r"^```console\n(.*?)^```|(?:^    \S.*\n)+", re.MULTILINE | re.DOTALL)


def commands(page):
    """The words of every `anyvox` command of a page's console blocks."""
    for block in CONSOLE.finditer(page.read_text(encoding="utf-8")):
        for line in block[0].replace("\\\n", " ").splitlines():
            try:
                words = shlex.split(line.strip().removeprefix("$ "), comments=True)
            except ValueError:  # prose in a diagram
                continue
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)  # KERAS_BACKEND=torch
            if words and words[0] == "anyvox" and len(words) > 1 and "..." not in words:
                yield words[1:]


@pytest.mark.parametrize(
    "words", [w for page in PAGES for w in commands(page)], ids=lambda words: " ".join(words)[:80]
)
def test_commands_of_the_pages_parse(words):
    command, name, words = anyvox, "anyvox", list(words)
    with click.Context(anyvox, obj={"arguments": words}) as context:
        while isinstance(command, click.Group) and not words[0].startswith("-"):
            name = words.pop(0)
            command = command.get_command(context, name)
            assert command is not None, name
        if isinstance(command, click.Group):
            assert words[0] in {flag for p in command.get_params(context) for flag in p.opts}
            return
        with command.make_context(name, words, parent=context):
            pass


def test_every_command_is_shown_somewhere():
    shown = {words[0] for page in PAGES for words in commands(page)}
    assert shown >= set(anyvox.list_commands(None))


def test_messages_that_are_explained_are_those_of_the_package():
    text = (ROOT / "docs/guides/troubleshooting.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `+ ?(.+?)`` ?\||^\| `(.+?)` \|", text, re.MULTILINE)
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "anyvox_keras").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # strings over two lines
    assert len(rows) > 20
    for message in (first or second for first, second in rows):
        assert message in source, message


def test_names_in_the_tables_of_other_tools_exist():
    """The right columns, whose names are `folder.Name` or `avx.Name`."""
    text = (ROOT / "docs/guides/coming-from.md").read_text(encoding="utf-8")
    folders = {path.name for path in (ROOT / "anyvox_keras").iterdir() if path.is_dir()} | {"avx"}
    right = [line.split("|")[2] for line in text.splitlines() if line.startswith("| ")]
    names = [n for cell in right for n in re.findall(r"`(\w+(?:\.\w+)+)", cell)]
    names = [name.split(".") for name in names if name.split(".")[0] in folders]
    assert len(names) > 30
    for folder, *rest in names:
        thing = avx if folder == "avx" else getattr(avx, folder)
        for name in rest:
            thing = getattr(thing, name)


LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]+)")


def test_links_between_files_lead_somewhere():
    """Within docs/ the strict build of the site looks further: into anchors and pages it makes."""
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_picture_has_its_recipe(load_file):
    made = load_file(ROOT / "docs" / "pictures" / "make.py")
    recipes = [name for recipe in made.RECIPES for name in recipe.pictures]
    there = [path.stem for path in (ROOT / "docs" / "images").iterdir()]
    assert sorted(recipes) == sorted(there)
