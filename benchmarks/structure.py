"""How the package is built: files, imports, circles, arguments, documentation.

    python benchmarks/structure.py [FOLDER ...]

Reads the code as text and runs nothing of it. A FOLDER is a checkout; several are compared.
"""

import ast
import importlib.util
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE = "anyvox_keras"
REGISTER = f"{PACKAGE}.registration.register"
Modules = dict[str, ast.Module]


def read(checkout: Path) -> tuple[Modules, dict[str, str]]:
    """Parse every module of the package; the second dictionary holds their texts."""
    root = checkout / PACKAGE
    trees, texts = {}, {}
    for path in sorted(root.rglob("*.py")):
        parts = (PACKAGE, *path.relative_to(root).with_suffix("").parts)
        name = ".".join(parts).removesuffix(".__init__")
        texts[name] = path.read_text(encoding="utf-8")
        trees[name] = ast.parse(texts[name])
    return trees, texts


def code_lines(tree: ast.Module) -> set[int]:
    """Numbers of the lines that hold code: no docstring, no comment, no blank."""
    lines: set[int] = set()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    doc: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            doc |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        if hasattr(node, "lineno"):
            lines |= {node.lineno, node.end_lineno or node.lineno}
        if isinstance(node, ast.Import | ast.ImportFrom | ast.stmt) and not hasattr(node, "body"):
            lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines - doc


def import_lines(tree: ast.Module) -> set[int]:
    """Numbers of the lines of imports, wherever they stand."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def imports(trees: Modules) -> dict[str, set[str]]:
    """Which module imports which, in functions and for type checkers too."""
    graph: dict[str, set[str]] = {}
    for name, tree in trees.items():
        graph[name] = {other for other in _imported(tree, trees) if other != name}
    return graph


def _imported(tree: ast.Module, known: Modules) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in known:
                    yield full
                elif node.module in known:
                    yield node.module


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other (Tarjan)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in graph[name]:
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in number:
            visit(name)
    return found


def public_names(trees: Modules) -> set[tuple[str, str]]:
    """`(package, name)` of what a package's `__all__` lists, or its `lazy` block imports."""
    names = set()
    for module, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                value = node.value
                if isinstance(value, ast.List | ast.Tuple):
                    names |= {(module, e.value) for e in value.elts if isinstance(e, ast.Constant)}
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                imports = (one for one in node.body if isinstance(one, ast.ImportFrom))
                names |= {(module, a.name) for one in imports for a in one.names if a.asname}
    return {(module, str(name)) for module, name in names}


def without_reference(checkout: Path, trees: Modules) -> list[str]:
    """Public names that no entry of the API reference leads to.

    An entry of a folder shows its names, but for those that a file of the folder bears too: the
    generator takes the file for the name.
    """
    asked = set(re.findall(r"^::: ([\w.]+)", reference_text(checkout), re.M))
    leaves = {entry.rsplit(".", 1)[1] for entry in asked if entry not in trees}
    return sorted(
        f"{package}.{name}"
        for package, name in public_names(trees)
        if package != PACKAGE and name not in leaves
        if package not in asked or f"{package}.{name}" in trees
    )


def reference_text(checkout: Path) -> str:
    """The documentation's pages, written and generated."""
    pages = [path.read_text(encoding="utf-8") for path in (checkout / "docs").rglob("*.md")]
    hook = checkout / "docs" / "hooks" / "reference_pages.py"
    if hook.exists():
        spec = importlib.util.spec_from_file_location("reference_pages", hook)
        module: Any = importlib.util.module_from_spec(spec) if spec else None
        spec.loader.exec_module(module) if spec and spec.loader else None
        pages += module.pages(checkout).values()
    return "\n".join(pages)


def positional(trees: Modules, module: str, function: str) -> int:
    """How many arguments a function of a module takes by position."""
    for node in trees[module].body if module in trees else []:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return len(node.args.args)
    return 0


def report(checkout: Path) -> dict[str, str]:
    """All figures of a checkout."""
    trees, texts = read(checkout)
    packages = {name for name in trees if any(other.startswith(f"{name}.") for other in trees)}
    modules = [name for name in trees if name not in packages]  # `__init__` only hands names on
    sizes = {name: len(texts[name].splitlines()) for name in modules}
    code = {name: len(code_lines(trees[name])) for name in modules}
    imported = sum(len(import_lines(trees[name])) for name in modules)
    largest = max(sizes, key=lambda name: sizes[name])
    any_arrays = sum(len(re.findall(r"^Array = Any$", text, re.M)) for text in texts.values())
    return {
        "files": str(len(modules)),
        "lines": str(sum(len(text.splitlines()) for text in texts.values())),
        "code lines": str(sum(code.values())),
        "lines a file, median": f"{statistics.median(sizes.values()):.0f}",
        "largest file": f"{sizes[largest]} ({largest.removeprefix(PACKAGE + '.')})",
        "imports' share of code": f"{100 * imported / sum(code.values()):.1f} %",
        "circles of files": str(len(circles(imports(trees)))),
        "positional arguments of register": str(
            positional(trees, f"{PACKAGE}.registration.register", "register")
        ),
        "`Array = Any`": str(any_arrays),
        "public names": str(len({name for _, name in public_names(trees)})),
        "without a reference entry": str(len(without_reference(checkout, trees))),
    }


def main() -> None:
    folders = [Path(word) for word in sys.argv[1:]] or [Path(__file__).parents[1]]
    columns = [report(folder) for folder in folders]
    print("| figure |", " | ".join(folder.resolve().name for folder in folders), "|")
    print("|---|" + "---|" * len(folders))
    for figure in columns[0]:
        print(f"| {figure} |", " | ".join(column[figure] for column in columns), "|")


if __name__ == "__main__":
    main()
