"""Pages of the API reference, made from every folder's `__all__` when the site is built.

A file that bears the name of the function in it would be taken for the function, so each entry
names its object in full: `anyvox_keras.registration.register.register`.
"""

import ast
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any

PACKAGE = "anyvox_keras"
ROOT = Path(__file__).parents[2]


def definitions(root: Path = ROOT) -> dict[str, list[str]]:
    """Modules that define each top-level name: classes, functions, constants."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((root / PACKAGE).rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for name in _names(node):
                found[name].append(module)
    return found


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def public(root: Path = ROOT) -> dict[str, list[str]]:
    """Public names of each folder, by the folder's full name."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("__init__.py")):
        package = ".".join(path.relative_to(root).parts[:-1])
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if listed := _listed(node):
                # a folder among the names has a page of its own
                found[package] = [n for n in listed if not (path.parent / n).is_dir()]
    return found


def _listed(node: ast.stmt) -> list[str]:
    """Names in `__all__`, or those that a folder of `lazy` imports for type checkers."""
    if isinstance(node, ast.Assign) and _names(node) == ["__all__"]:
        return list(ast.literal_eval(node.value))
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        imports = (one for one in node.body if isinstance(one, ast.ImportFrom))
        return [alias.name for one in imports for alias in one.names if alias.asname]
    return []


def homes(package: str, names: list[str], known: dict[str, list[str]]) -> dict[str, str]:
    """Full name of each public name of a folder, where it is defined."""
    full = {}
    for name in names:
        inside = [m for m in known[name] if m == package or m.startswith(f"{package}.")]
        for module in inside or known[name]:
            full[name] = f"{module}.{name}"
    return full


def pages(root: Path = ROOT) -> dict[str, str]:
    """Text of every page by its path: a folder's names, those of its own folders apart."""
    known, names = definitions(root), public(root)
    texts = {}
    for package, listed in names.items():
        below = {
            n for other, more in names.items() if other.startswith(f"{package}.") for n in more
        }
        own = homes(package, sorted(set(listed) - below, key=str.lower), known)
        folder = package.removeprefix(f"{PACKAGE}.")
        entries = "".join(f"\n::: {path}\n" for path in own.values())
        doc = ast.get_docstring(ast.parse(_init(root, package).read_text(encoding="utf-8"))) or ""
        texts[f"reference/{folder}.md"] = f"# {folder}\n\n{doc}\n{entries}"
    return texts


def _init(root: Path, package: str) -> Path:
    return root.joinpath(*package.split(".")) / "__init__.py"


def on_files(files: Any, config: Any) -> Any:
    """Hook of MkDocs: add the pages."""
    from mkdocs.structure.files import File

    texts = pages()
    links = "\n".join(f"- [{path[10:-3]}]({path[10:]})" for path in texts)
    texts["reference/index.md"] = f"# Reference\n\nEvery public name, by folder.\n\n{links}\n"
    for path, text in texts.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_post_build(config: Any) -> None:
    """Hook of MkDocs: a public name without an entry in the site's index fails the build."""
    from mkdocs.exceptions import PluginError

    index = Path(config["site_dir"], "objects.inv").read_bytes().split(b"zlib.\n", 1)[1]
    listed = {line.split(" ")[0] for line in zlib.decompress(index).decode().splitlines()}
    known = definitions()
    lacking = sorted(
        f"{package}.{name}"
        for package, names in public().items()
        for name in names
        if not any(f"{module}.{name}" in listed for module in known[name])
    )
    if lacking:
        raise PluginError(f"public names without a reference entry: {', '.join(lacking)}")
