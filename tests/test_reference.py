"""Every public name has its entry in the API reference."""

import re
from pathlib import Path

import pytest

HOOK = Path(__file__).parents[1] / "docs" / "hooks" / "reference_pages.py"


@pytest.fixture(scope="module")
def reference(load_file):
    return load_file(HOOK)


def test_every_public_name_has_one_entry_that_names_its_object(reference):
    known, pages = reference.definitions(), reference.pages()
    entries = [entry for text in pages.values() for entry in re.findall(r"^::: (\S+)$", text, re.M)]
    assert len(entries) == len(set(entries))
    for package, names in reference.public().items():
        for name in names:
            assert any(f"{module}.{name}" in entries for module in known[name]), (package, name)
