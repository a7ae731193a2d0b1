"""The examples in public docstrings run, and every public name has one."""

import ast
import doctest
import importlib
import inspect
import re
import signal
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import anyvox_keras as avx

FOLDER = Path(avx.__file__).parent
SECTION = re.compile(r"^Examples?:\n((?:[ ]+.*\n|\n)+)", re.MULTILINE)
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# One backend is enough for words, and eager PyTorch spares the compilers: what the examples call is
# tested on all three elsewhere.
on_torch = pytest.mark.skipif(keras.backend.backend() != "torch", reason="runs on torch only")

#: an example that takes longer teaches patience; slow machines get some
SECONDS = 90

Documented = ast.FunctionDef | ast.ClassDef


def example_of(docstring: str | None) -> str:
    """The code of the `Example:` section; empty where there is none."""
    found = SECTION.search(inspect.cleandoc(docstring or "") + "\n")
    if not found:
        return ""
    body = textwrap.dedent(found[1]).strip("\n") + "\n"
    fenced = FENCE.findall(body)
    assert fenced, f"an `Example:` needs a python fence, as the site renders it:\n{body}"
    return "\n".join(fenced)


def public(node: ast.AST) -> Iterator[Documented]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Documented) and not child.name.startswith("_"):
            yield child


def examples_in(definition: Documented) -> list[str]:
    """A class's own example, then those of its methods, which may go on from it."""
    parts = [definition]
    if isinstance(definition, ast.ClassDef):
        parts += public(definition)
    return [code for part in parts if (code := example_of(ast.get_docstring(part)))]


def collect() -> Iterator[Any]:
    for path in sorted(FOLDER.rglob("*.py")):
        module = ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts)
        for definition in public(ast.parse(path.read_text(encoding="utf-8"))):
            if codes := examples_in(definition):
                where = f"{module.removeprefix('anyvox_keras.')}:{definition.name}"
                yield pytest.param(module, codes, id=where)


def run(code: str, names: dict[str, Any]) -> None:
    """Run a doctest session or plain code; what it defines stays in `names`."""
    if ">>>" not in code:
        exec(compile(code, "<example>", "exec"), names)
        return
    session = doctest.DocTestParser().get_doctest(code, names, "example", None, 0)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(session, out=report.append, clear_globs=False)
    assert not report, "".join(report)


@pytest.fixture
def limited():
    """Interrupt what runs too long."""

    def interrupt(*_):
        raise TimeoutError(f"the example took more than {SECONDS} s")

    signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)


@on_torch
@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(("module", "codes"), collect())
def test_example_runs(module, codes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = vars(importlib.import_module(module))
    names = {**known, "avx": avx, "keras": keras, "np": np, "__name__": "__main__"}
    for code in codes:
        run(code, names)


@pytest.mark.parametrize("name", getattr(avx, "__all__", []))
def test_public_name_has_an_example(name):
    thing = getattr(avx, name)
    if callable(thing):
        assert example_of(thing.__doc__), f"the docstring of {name} has no `Example:`"
