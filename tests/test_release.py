"""What a release refuses."""

import zipfile

import pytest


@pytest.fixture(scope="module")
def release(root, load_file):
    return load_file(root / ".ci" / "release.py")


def test_notes_are_those_of_the_version(release):
    text = "# Changelog\n\n## Unreleased\n- c\n\n## 0.2.0 (2027-01-31)\n\n- b\n\n## 0.1.0\n- a\n"
    assert release.notes(text, "0.2.0") == "- b\n"
    assert release.notes(text, "0.1.0") == "- a\n"
    for version in ("0.2", "0.3.0"):
        with pytest.raises(SystemExit, match="expected a heading"):
            release.notes(text, version)


def test_a_wheel_is_whole_and_alone(release, tmp_path, root):
    for name in release.NEEDED:
        assert (root / name).is_file()
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*release.NEEDED, "anyvox_keras-0.2.0.dist-info/METADATA"):
            archive.writestr(name, "")
    release.check_wheel(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tests/a.py", "")
    with pytest.raises(SystemExit, match="foreign"):
        release.check_wheel(path)
