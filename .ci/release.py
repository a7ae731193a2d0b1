"""Build what a release uploads, and refuse what should not be uploaded: `release.py VERSION`."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
LARGEST = 40e6
#: files without which an installed package fails or says nothing
NEEDED = (
    "anyvox_keras/py.typed", "anyvox_keras/pictures/page/niivue.umd.js",
    "anyvox_keras/networks/weights/anyvox-base/model.weights.h5",
    "anyvox_keras/registration/jobs/brain-mr.toml",
)  # fmt: skip


def notes(changelog: str, version: str) -> str:
    """Return what the changelog says of a version, or stop."""
    found = re.search(
        rf"^## {re.escape(version)}(?![.\w])[^\n]*\n(.*?)(?=^## |\Z)", changelog, re.M | re.S
    )
    if found is None or not found[1].strip():
        sys.exit(f"CHANGELOG.md: expected a heading '## {version}' with its lines, found none")
    return found[1].strip() + "\n"


def check_wheel(wheel: Path) -> None:
    """Stop unless the wheel holds the package, whole and alone, and is small."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    lacking = [name for name in NEEDED if name not in names]
    foreign = [n for n in names if not n.startswith("anyvox_keras") or "__pycache__" in n]
    if lacking or foreign or wheel.stat().st_size > LARGEST:
        size = wheel.stat().st_size / 1e6
        sys.exit(f"{wheel.name}: lacking {lacking}, foreign {foreign[:3]}, {size:.1f} MB")


def main(version: str) -> None:
    """Check, build, check again."""
    run = {"cwd": ROOT, "check": True, "text": True}
    if subprocess.run(["git", "status", "--porcelain"], capture_output=True, **run).stdout.strip():
        sys.exit("expected a checkout without changes")
    stated = re.search(r'__version__ = "(.+)"', (ROOT / "anyvox_keras/__init__.py").read_text())
    if stated is None or stated[1] != version:
        sys.exit(f"expected __version__ {version}, found {stated and stated[1]}")
    said = notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "build", "twine"], **run)
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(DIST)], **run)
    built = [str(path) for path in sorted(DIST.iterdir())]
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *built], **run)
    check_wheel(next(DIST.glob("*.whl")))
    (DIST / "notes.md").write_text(said, encoding="utf-8")
    print(f"dist/ holds {version}: {', '.join(Path(path).name for path in built)}, notes.md")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("release.py VERSION, or make release VERSION=0.2.0")
    main(sys.argv[1])
