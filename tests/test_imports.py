"""Imports run one way, and frameworks stay behind one door."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "anyvox_keras"
FOLDER = Path(__file__).parents[1] / PACKAGE

# What stands in one row may import from the rows below it, never from its own row or above.
ROWS = [
    {"errors", "types", "lazy", "saving", "export", "glance", "progress", "shards"},
    {"backend"},
    {"ops"},
    {"random"},
    {"geometry"},
    {"io"},
    {"templates"},
    {"synthesis", "networks", "metrics", "pictures"},
    {"features", "training"},
    {"contrastive", "registration", "segmentation"},
    {"voxelmorph"},
    {"cli"},
]
RANK = {name: rank for rank, row in enumerate(ROWS) for name in row}

FRAMEWORKS = {"tensorflow", "torch", "jax", "jaxlib", "flax", "functorch"}
# The backend, what exchanges weights or modules with PyTorch, and the datasets of other loops.
DOORS = {
    "networks/checkpoint.py",
    "networks/torch_unet.py",
    "registration/losses/registration_loss.py",
    "synthesis/stream/tensorflow_dataset.py",
    "synthesis/stream/torch_dataset.py",
    "voxelmorph/weights.py",
}
# Extras and test tools: loaded where they are used, so that the package works without them.
OPTIONAL = {
    "matplotlib", "nilearn", "voxelmorph", "neurite", "huggingface_hub", "pandas", "safetensors",
    "vtk", "vtkmodules",
}  # fmt: skip
FOREIGN = {"monai", "torchio", "SimpleITK", "convexadam", "convexAdam", "pytest", "sklearn"}

FILES = sorted(FOLDER.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Full names of everything that a file imports, also inside functions."""
    package = [PACKAGE, *path.relative_to(FOLDER).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imported_at_once(path: Path) -> set[str]:
    """Top-level packages that importing the file loads: not those inside its functions."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_every_folder_has_its_row():
    folders = {path.parent.name for path in FOLDER.glob("*/__init__.py")}
    assert folders <= set(RANK)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_run_one_way(path: Path):
    parts = path.relative_to(FOLDER).parts
    if len(parts) == 1:
        pytest.skip("files of the package's root join the parts")
    own = parts[0]
    for name in imported(path):
        if not name.startswith(f"{PACKAGE}."):
            assert name != PACKAGE, f"{name_of(path)} imports the whole package"
            continue
        other = name.split(".")[1]
        if other in RANK and other != own:
            assert RANK[other] < RANK[own], f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_frameworks_stay_behind_the_doors(path: Path):
    used = {name.split(".")[0] for name in imported(path)}
    if not name_of(path).startswith("backend/") and name_of(path) not in DOORS:
        assert not used & FRAMEWORKS
    assert not used & FOREIGN


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_optional_packages_are_loaded_late(path: Path):
    assert not imported_at_once(path) & OPTIONAL


def home_of(name: str) -> Path | None:
    """The file that an imported name of the package comes from: a module, or a folder's own."""
    parts = name.split(".")[1:]
    while parts:
        module = FOLDER.joinpath(*parts)
        for path in (module.with_suffix(".py"), module / "__init__.py"):
            if path.exists():
                return path
        parts.pop()
    return None


def test_no_circle_of_files():
    """Imports inside functions and for type checkers count too."""
    left = {
        path: {home_of(name) for name in imported(path) if name.startswith(f"{PACKAGE}.")} - {None}
        for path in FILES
    }
    # What imports nothing that is left is in no circle, nor is what nothing left imports.
    while free := [path for path, needed in left.items() if not needed & left.keys()]:
        left = {path: needed for path, needed in left.items() if path not in free}
    while True:
        wanted = set().union(*left.values())
        if not (unwanted := left.keys() - wanted):
            break
        left = {path: needed for path, needed in left.items() if path not in unwanted}
    assert not left, "circle among " + ", ".join(name_of(path) for path in left)


@pytest.mark.parametrize("name", [PACKAGE, f"{PACKAGE}.cli"])
def test_import_loads_neither_keras_nor_a_framework(name: str):
    """Help and errors answer at once; what is loaded is loaded by what is used."""
    code = f"import sys, {name}; print(*{{name.split('.')[0] for name in sys.modules}})"
    ran = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    loaded = set(ran.stdout.split())
    assert PACKAGE in loaded
    assert not loaded & (FRAMEWORKS | OPTIONAL | FOREIGN | {"keras"})
